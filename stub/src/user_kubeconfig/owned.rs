//! Tells the entries that this program wrote into the user's kubeconfigs from others of the same name.

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
use crate::layout::MASTER;
use crate::paths;
use crate::pki::Certificate;

/// What was merged into the user's kubeconfigs, by file. A file below the home directory is remembered relative to it,
/// so that a home that was moved or copied finds its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Merges(BTreeMap<PathBuf, Merged>);

/// What was done to one kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Merged {
    /// Whether the file was made.
    pub(super) made: bool,
    /// How many directories above it were made for it.
    pub(super) directories: usize,
    /// The context that was used by default before.
    pub(super) current: Option<String>,
    /// Digests of the entries that were written.
    pub(super) entries: BTreeSet<Sha256>,
}

impl Merges {
    /// Is nothing remembered?
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

/// The digest of an entry, however it is written.
pub(super) fn digest(entry: &Value) -> Sha256 {
    Sha256::of(entry.to_string().as_bytes())
}

/// The facts by which our entries are recognised.
pub(super) struct Known<'a> {
    authority: Option<Certificate>,
    merges: &'a Merges,
}

impl<'a> Known<'a> {
    /// By what is remembered, and by the cluster's authority if there is one below `config_dir`: earlier releases
    /// remembered nothing.
    pub(super) fn by(config_dir: &Path, merges: &'a Merges) -> Self {
        let file = config_dir.join(MASTER).join("ca.pem");
        let pem = fs_err::read_to_string(file).ok();
        let authority = pem.and_then(|pem| Certificate::parse(&pem).ok());
        Self { authority, merges }
    }

    /// The entries of our name that are somebody else's.
    pub(super) fn foreign(&self, chain: &Chain) -> Vec<Foreign> {
        let mut foreign: Vec<Foreign> = Vec::new();
        // Contexts last: one that leads to somebody else's cluster or user is his, though it looks like ours.
        for part in [Part::Cluster, Part::User, Part::Context] {
            let leads_to_ours = part != Part::Context || foreign.is_empty();
            for source in &chain.0 {
                let entries = source.entries(part);
                let found = match entries.as_slice() {
                    [] => continue,
                    [(_, entry)] if self.wrote(entry, &source.file) => continue,
                    [(_, entry)] if leads_to_ours && self.recognises(part, entry) => continue,
                    [(_, entry)] => describe(&entry[part.word()]),
                    more => format!("{} of this name in one file", more.len()),
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

    /// Does the receipt say that this entry was written into this file?
    fn wrote(&self, entry: &Value, file: &Path) -> bool {
        let merged = self.merges.of(file);
        merged.is_some_and(|m| m.entries.contains(&digest(entry)))
    }

    /// Is it what earlier releases wrote, or what was written before a certificate was renewed? A field that this
    /// program never writes is somebody else's, and with it the entry.
    fn recognises(&self, part: Part, entry: &Value) -> bool {
        let body = &entry[part.word()];
        let only = |fields: &[&str]| {
            let mut keys = body.as_object().into_iter().flatten().map(|(key, _)| key);
            keys.all(|key| fields.contains(&key.as_str()))
        };
        let by_authority = |field: &str, is: fn(&Certificate, &Certificate) -> bool| {
            let found = certificate(&body[field]);
            let both = found.as_ref().zip(self.authority.as_ref());
            both.is_some_and(|(found, authority)| is(found, authority))
        };
        match part {
            Part::Cluster => {
                only(&["server", AUTHORITY]) && by_authority(AUTHORITY, Certificate::same_holder)
            }
            Part::User => only(&[CLIENT, KEY]) && by_authority(CLIENT, Certificate::issued_by),
            // `kubectl config set-context --current --namespace` is common, and loses nothing of value when it is removed.
            Part::Context => {
                self.authority.is_some()
                    && only(&["cluster", "user", "namespace"])
                    && body["cluster"] == NAME
                    && body["user"] == NAME
            }
        }
    }

    fn expected(&self, part: Part) -> &'static str {
        if self.authority.is_none() {
            return "an entry that an installation remembers to have written; none is left";
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

/// The fields of our entries that are embedded certificates and keys.
pub(super) const AUTHORITY: &str = "certificate-authority-data";
pub(super) const CLIENT: &str = "client-certificate-data";
pub(super) const KEY: &str = "client-key-data";

fn certificate(embedded: &Value) -> Option<Certificate> {
    let bytes = BASE64.decode(embedded.as_str()?).ok()?;
    Certificate::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Lists the fields of an entry, without the values that may be secret.
fn describe(body: &Value) -> String {
    let issuer = |value: &Value| certificate(value).map_or("nobody known".to_owned(), |c| c.issuer);
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
        "nothing in it".to_owned()
    } else {
        fields.join(", ")
    }
}

/// An entry of our name that is not ours.
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

    /// A line which says that the entry stays.
    pub(super) fn to_line(&self) -> String {
        format!(
            "{} keeps the {} `{NAME}`, which is not what `usernetes kubeconfig merge` wrote: it has {}",
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

/// The error that entries are in the way of a merge.
pub(super) fn cannot_merge(foreign: &[Foreign]) -> Error {
    refusal(foreign).hint("give that entry another name in the file, or leave the file out of $KUBECONFIG; `usernetes kubectl` needs no kubeconfig of yours")
}

/// The error that entries are not taken out, because they are not ours.
pub(super) fn cannot_unmerge(foreign: &[Foreign]) -> Error {
    let commands: Vec<_> = foreign.iter().map(Foreign::removal).collect();
    refusal(foreign).hint(format!(
        "nothing was changed; to remove what you do not need any more, run {}",
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
            "{}: the {} `{NAME}` is not what `usernetes kubeconfig merge` wrote",
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

/// Fails if one of these is not ours.
pub(super) fn check(foreign: &[Foreign], refuse: fn(&[Foreign]) -> Error) -> Result<()> {
    if foreign.is_empty() {
        Ok(())
    } else {
        Err(refuse(foreign))
    }
}
