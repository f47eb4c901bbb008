//! Compares the existing files with the files that should exist, and plans the changes. It changes no file itself.

mod clock;
mod issue;
mod rest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use super::files::{self, DIRECTORY, SECRET};
use super::identity::{Access, Authority, Leaf};
use super::key::Key;
use super::rotation::Wanted;
use super::{Ensured, MASTER, Made, NODE, Renew};
use crate::error::{Context as _, Error, Kind, Result};

/// A file to be written.
pub(super) struct Write {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) mode: u32,
}

/// All changes, in the order in which to make them.
#[derive(Default)]
pub(super) struct Plan {
    /// Certificates without a key. They are removed before their new keys are written, so that no key is ever beside a
    /// certificate that it does not belong to.
    pub(super) remove: Vec<PathBuf>,
    pub(super) keys: Vec<Write>,
    pub(super) certificates: Vec<Write>,
    /// Files made from certificates: kubeconfigs, and the node's copy of the cluster authority.
    pub(super) copies: Vec<Write>,
    pub(super) tighten: Vec<(PathBuf, u32)>,
    pub(super) report: Ensured,
}

/// An authority's certificate, and its key if it exists.
struct Signer {
    which: Authority,
    certificate: Certificate,
    key: Option<Key>,
    /// Whether the certificate was missing and is new.
    made: bool,
    /// All certificates that this authority has or had: two or more while it is replaced.
    known: Vec<Certificate>,
}

/// The certificate and key of a leaf, as they will be after the changes.
struct Identity {
    certificate: String,
    key: String,
}

struct Planner<'a> {
    config_dir: &'a Path,
    renew: Renew,
    now: i64,
    /// What a replacement of the authorities wants, if one is under way.
    rotation: Option<Wanted>,
    plan: Plan,
    /// Files that do not belong to their authority or key, and the reasons.
    misfits: Vec<(String, String)>,
}

const MISSING: &str = "was missing";
const REPLACED: &str = "was of the time before the authorities are replaced";

/// Compares the files below the configuration directory with what should be there.
pub(super) fn make(
    config_dir: &Path,
    leaves: &[Leaf],
    accesses: &[Access],
    renew: Renew,
    now: i64,
) -> Result<Plan> {
    let mut planner = Planner {
        config_dir,
        renew,
        now,
        rotation: Wanted::read(config_dir, now)?,
        plan: Plan::default(),
        misfits: Vec::new(),
    };
    for dir in [MASTER, NODE] {
        let path = config_dir.join(dir);
        if files::open_to_others(&path)? {
            planner.plan.report.tightened.push(dir.into());
            planner.plan.tighten.push((path, DIRECTORY));
        }
    }
    let signers = Authority::ALL
        .into_iter()
        .map(|which| planner.authority(which))
        .collect::<Result<Vec<_>>>()?;
    planner.service_accounts()?;
    let mut identities = BTreeMap::new();
    for leaf in leaves {
        for signer in signers.iter().filter(|s| s.which == leaf.authority) {
            let identity = planner.leaf(leaf, signer)?;
            identities.insert(leaf.credential, identity);
        }
    }
    for signer in signers.iter().filter(|s| s.which == Authority::Cluster) {
        planner.copy_for_node(signer)?;
        for access in accesses {
            if let Some(Some(identity)) = identities.get(&access.kubeconfig.credential()) {
                planner.kubeconfig(access, &signer.certificate, identity)?;
            }
        }
    }
    planner.finish()
}

impl Planner<'_> {
    fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.config_dir.join(relative)
    }

    fn relative(&self, file: &Path) -> PathBuf {
        file.strip_prefix(self.config_dir)
            .unwrap_or(file)
            .to_owned()
    }

    /// Adds a file to one of the plan's batches.
    fn write(
        &mut self,
        batch: fn(&mut Plan) -> &mut Vec<Write>,
        file: PathBuf,
        text: String,
        mode: u32,
        reason: &str,
    ) {
        self.plan.report.made.push(Made {
            file: self.relative(&file),
            reason: reason.to_owned(),
            expired: false,
        });
        batch(&mut self.plan).push(Write { file, text, mode });
    }

    fn misfit(&mut self, file: &Path, what: String) {
        let file = self.relative(file).display().to_string();
        self.misfits.push((file, what));
    }

    /// Keeps a file. If it is a secret that other users can read, its permissions are restricted. While the authorities are
    /// replaced, it is written if it has not the text that the replacement wants.
    fn keep(&mut self, file: PathBuf, mode: u32) -> Result<()> {
        let relative = self.relative(&file);
        if let Some(text) = self.wanted(&file)
            && files::read(&file)?.as_ref() != Some(&text)
        {
            let batch: fn(&mut Plan) -> &mut Vec<Write> = if mode == SECRET {
                |p| &mut p.keys
            } else {
                |p| &mut p.certificates
            };
            self.write(batch, file, text, mode, REPLACED);
            return Ok(());
        }
        if mode == SECRET && files::open_to_others(&file)? {
            self.plan.report.tightened.push(relative.clone());
            self.plan.tighten.push((file, mode));
        }
        self.plan.report.kept.push(relative);
        Ok(())
    }

    /// The text that a replacement of the authorities wants a file to have; `None` if it says nothing about it.
    fn wanted(&self, file: &Path) -> Option<String> {
        let rotation = self.rotation.as_ref()?;
        rotation.text(&self.relative(file)).cloned()
    }

    /// The text of a file, as it will be.
    fn text(&self, file: &Path) -> Result<Option<String>> {
        match self.wanted(file) {
            None => files::read(file),
            wanted => Ok(wanted),
        }
    }

    fn read_key(&self, file: &Path) -> Result<Option<Key>> {
        self.text(file)?
            .map(|pem| Key::parse(pem).about(|| file.display()))
            .transpose()
    }

    fn read_certificate(&self, file: &Path) -> Result<Option<Certificate>> {
        self.text(file)?
            .map(|pem| Certificate::parse(&pem).about(|| file.display()))
            .transpose()
    }

    fn keep_or_make(&mut self, key: Option<Key>, file: PathBuf) -> Result<Key> {
        if let Some(key) = key {
            self.keep(file, SECRET)?;
            return Ok(key);
        }
        let key = Key::generate()?;
        self.write(|p| &mut p.keys, file, key.pem.clone(), SECRET, MISSING);
        Ok(key)
    }

    fn finish(self) -> Result<Plan> {
        if self.misfits.is_empty() {
            return Ok(self.plan);
        }
        let error = Error::new(
            Kind::Input,
            format!(
                "{}: the certificates and keys in this directory do not belong together",
                self.config_dir.display()
            ),
        );
        Err(self
            .misfits
            .iter()
            .fold(error, |error, (file, what)| error.detail(file, what))
            .hint("restore these files from a backup, or move each of them and its `-key.pem` away and run the same command again, which makes new ones"))
    }
}
