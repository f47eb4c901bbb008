//! Distinguishes the entries that this program wrote into the user's kubeconfigs from others with the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::{Chain, Part};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::kubeconfig::NAME;
use crate::layout::Credential;
use crate::paths;
use crate::pki::Certificate;

/// The record of entries merged into the user's kubeconfigs, by file. The path of a file in the home directory is recorded
/// relative to it, so that the record stays right when the home is moved or copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Merges(BTreeMap<PathBuf, Merged>);

/// The record of one kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Merged {
    /// Whether this program created the file.
    pub(super) made: bool,
    /// How many directories above it this program created.
    pub(super) directories: usize,
    /// The default context before the first merge.
    pub(super) current: Option<String>,
    /// The digests of the entries that were written.
    pub(super) entries: BTreeSet<Sha256>,
}

impl Merges {
    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The files, as absolute paths.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let home = paths::real_home().unwrap_or_default();
        self.0.keys().map(|file| home.join(file)).collect()
    }

    pub(super) fn of(&self, file: &Path) -> Option<&Merged> {
        self.0.get(&key(file))
    }

    pub(super) fn of_mut(&mut self, file: &Path) -> Option<&mut Merged> {
        self.0.get_mut(&key(file))
    }

    pub(super) fn insert(&mut self, file: &Path, merged: Merged) {
        self.0.insert(key(file), merged);
    }

    pub(super) fn forget(&mut self, file: &Path) {
        self.0.remove(&key(file));
    }
}

fn key(file: &Path) -> PathBuf {
    let home = paths::real_home();
    let below = home.as_deref().and_then(|h| file.strip_prefix(h).ok());
    below.unwrap_or(file).to_owned()
}

/// The digest of an entry's values. It does not depend on the style in which the entry is written.
pub(super) fn digest(entry: &Value) -> Sha256 {
    Sha256::of(entry.to_string().as_bytes())
}

/// The facts that identify our entries.
pub(super) struct Known<'a> {
    /// More than one while the cluster replaces its authority; none if there is no cluster.
    authorities: Vec<Certificate>,
    merges: &'a Merges,
}

impl<'a> Known<'a> {
    /// Uses the records and, if it exists, the cluster's authority in `config_dir`. Earlier releases kept no records.
    pub(super) fn by(config_dir: &Path, merges: &'a Merges) -> Self {
        let file = config_dir.join(Credential::ClusterAuthority.certificate());
        let pem = fs_err::read_to_string(file).ok();
        let authorities = pem.and_then(|pem| Certificate::parse_all(&pem).ok());
        Self {
            authorities: authorities.unwrap_or_default(),
            merges,
        }
    }

    /// The entries with our name that are not ours.
    pub(super) fn foreign(&self, chain: &Chain) -> Vec<Foreign> {
        let mut foreign: Vec<Foreign> = Vec::new();
        // Contexts come last: a context is not ours if it refers to a cluster or user that is not ours.
        for part in [Part::Cluster, Part::User, Part::Context] {
            let leads_to_ours = part != Part::Context || foreign.is_empty();
            for source in &chain.0 {
                let entries = source.entries(part);
                let found = match entries.as_slice() {
                    [] => continue,
                    [(_, entry)] if self.wrote(entry, &source.file) => continue,
                    [(_, entry)] if leads_to_ours && self.recognises(part, entry) => continue,
                    [(_, entry)] => describe(&entry[part.word()]),
                    more => format!("{} entries with this name in one file", more.len()),
                };
                foreign.push(Foreign {
                    part,
                    file: source.file.clone(),
                    expected: self.expected(part),
                    found,
                });
            }
        }
        foreign
    }

    /// Whether the record says that this program wrote this entry into this file.
    fn wrote(&self, entry: &Value, file: &Path) -> bool {
        let merged = self.merges.of(file);
        merged.is_some_and(|m| m.entries.contains(&digest(entry)))
    }

    /// Whether an earlier release wrote it, or this one before a certificate was renewed. An entry with a field that this
    /// program never writes is not ours.
    fn recognises(&self, part: Part, entry: &Value) -> bool {
        let body = &entry[part.word()];
        let only = |fields: &[&str]| {
            let mut keys = body.as_object().into_iter().flatten().map(|(key, _)| key);
            keys.all(|key| fields.contains(&key.as_str()))
        };
        let by_authority = |field: &str, is: fn(&Certificate, &Certificate) -> bool| {
            let found = certificate(&body[field]);
            found.is_some_and(|found| self.authorities.iter().any(|one| is(&found, one)))
        };
        match part {
            Part::Cluster => {
                only(&["server", AUTHORITY]) && by_authority(AUTHORITY, Certificate::same_holder)
            }
            Part::User => only(&[CLIENT, KEY]) && by_authority(CLIENT, Certificate::issued_by),
            // `kubectl config set-context --current --namespace` is common. Removing its setting loses nothing of value.
            Part::Context => {
                !self.authorities.is_empty()
                    && only(&["cluster", "user", "namespace"])
                    && body["cluster"] == NAME
                    && body["user"] == NAME
            }
        }
    }

    fn expected(&self, part: Part) -> &'static str {
        if self.authorities.is_empty() {
            return "an entry that an installation has recorded; no record is left";
        }
        match part {
            Part::Context => "cluster `usernetes` and user `usernetes`",
            Part::Cluster => "this cluster's authority and a server, and nothing else",
            Part::User => {
                "a certificate of this cluster's authority with its key, and nothing else"
            }
        }
    }
}

// The fields of our entries that contain embedded certificates and keys.

/// The cluster's authority.
pub(super) const AUTHORITY: &str = "certificate-authority-data";
/// The client's certificate.
pub(super) const CLIENT: &str = "client-certificate-data";
/// The client's key.
pub(super) const KEY: &str = "client-key-data";

fn certificate(embedded: &Value) -> Option<Certificate> {
    let bytes = BASE64.decode(embedded.as_str()?).ok()?;
    Certificate::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Lists the fields of an entry, without values that may be secret.
fn describe(body: &Value) -> String {
    let issuer = |value: &Value| certificate(value).map_or("unknown".to_owned(), |c| c.issuer);
    let fields = body.as_object().into_iter().flatten();
    let fields: Vec<_> = fields
        .map(|(key, value)| match key.as_str() {
            AUTHORITY => format!("authority `{}`", issuer(value)),
            CLIENT => format!("client certificate issued by `{}`", issuer(value)),
            "server" | "cluster" | "user" | "namespace" => {
                format!("{key} `{}`", value.as_str().unwrap_or_default())
            }
            _ => format!("`{key}`"),
        })
        .collect();
    if fields.is_empty() {
        "no fields".to_owned()
    } else {
        fields.join(", ")
    }
}

/// An entry with our name that is not ours.
#[derive(Debug)]
pub(super) struct Foreign {
    part: Part,
    file: PathBuf,
    expected: &'static str,
    found: String,
}

impl Foreign {
    pub(super) fn is(&self, part: Part, file: &Path) -> bool {
        self.part == part && self.file == file
    }

    pub(super) fn is_context(&self) -> bool {
        self.part == Part::Context
    }

    /// A line for the user which says that the entry stays.
    pub(super) fn to_line(&self) -> String {
        format!(
            "{} keeps the {} `{NAME}`, which is not the one that `usernetes kubeconfig merge` wrote: it has {}",
            self.file.display(),
            self.part.word(),
            self.found
        )
    }

    /// The command that removes it.
    fn removal(&self) -> String {
        format!(
            "`kubectl config --kubeconfig {} delete-{} {NAME}`",
            self.file.display(),
            self.part.word()
        )
    }
}

/// The error for entries that prevent a merge.
pub(super) fn cannot_merge(foreign: &[Foreign]) -> Error {
    refusal(foreign).hint("rename that entry in the file, or leave the file out of $KUBECONFIG; `usernetes kubectl` works without your kubeconfig")
}

/// The error for entries that are not removed, because they are not ours.
pub(super) fn cannot_unmerge(foreign: &[Foreign]) -> Error {
    let commands: Vec<_> = foreign.iter().map(Foreign::removal).collect();
    refusal(foreign).hint(format!(
        "nothing was changed; to remove entries that you no longer need, run {}",
        commands.join(" and ")
    ))
}

fn refusal(foreign: &[Foreign]) -> Error {
    let Some(first) = foreign.first() else {
        return Error::new(Kind::Input, "nothing is in the way");
    };
    let mut error = Error::new(
        Kind::Input,
        format!(
            "{}: the {} `{NAME}` is not the one that `usernetes kubeconfig merge` wrote",
            first.file.display(),
            first.part.word()
        ),
    )
    .expected(first.expected)
    .found(&first.found);
    for other in foreign.iter().skip(1) {
        let file = other.file.display();
        error = error.detail(
            "also",
            format!("{} in {file}: {}", other.part.word(), other.found),
        );
    }
    error
}

/// Fails if there are any entries that are not ours.
pub(super) fn check(foreign: &[Foreign], refuse: fn(&[Foreign]) -> Error) -> Result<()> {
    if foreign.is_empty() {
        Ok(())
    } else {
        Err(refuse(foreign))
    }
}
