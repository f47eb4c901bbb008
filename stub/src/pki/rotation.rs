//! Replacing the authorities and the key of service accounts while the cluster runs.
//!
//! ```text
//! master/rotation/old/   the authorities and the key of service accounts from before
//! master/rotation/new/   those that replace them
//! master/rotation/stage.json
//! ```
//!
//! The last of these files is the only one that says how far it is, and one rename writes it. [`ensure`](super::ensure) makes
//! the files of the PKI what the stage wants. So whatever is interrupted, the next run of anything that renews certificates
//! makes it complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, rfc3339};
use super::files::{self, PUBLIC, SECRET};
use super::identity::Authority;
use super::key::Key;
use super::{MASTER, seconds};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{
    contents, or_remove, private_directory, remove_tree, replace, sync_parent, temporary,
};
use crate::layout::Credential;

/// The directory with everything below, in that of the control plane. Backups contain it.
const ROTATION: &str = "rotation";
const STAGE: &str = "stage.json";
const OLD: &str = "old";
const NEW: &str = "new";

/// How far the replacement is. Each stage can follow the one before once that one has [settled](Rotation::settled).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Everybody trusts the old and the new authorities. The old ones issue certificates.
    Trust,
    /// The new ones issue certificates and sign tokens. The certificates that the API server shows to other machines and to
    /// pods are still old.
    Issue,
    /// Nobody trusts the old ones any more.
    Finish,
}

/// A replacement of the authorities that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// How far it is.
    pub stage: Stage,
    /// Whether all running services have what this stage wants.
    pub settled: bool,
    /// When it came to this stage, or settled there, in seconds since 1970.
    pub since: i64,
}

impl Rotation {
    /// Whether nobody needs what it keeps any more.
    fn is_over(self) -> bool {
        self.stage == Stage::Finish && self.settled
    }

    /// When it came to this stage, or settled there, RFC 3339 in UTC.
    #[must_use]
    pub fn since(&self) -> String {
        rfc3339(self.since)
    }

    /// The command that goes on with it, after an interruption or to its end.
    #[must_use]
    pub fn next_command(&self) -> &'static str {
        match (self.stage, self.settled) {
            (Stage::Issue, true) | (Stage::Finish, _) => {
                "usernetes certs rotate-authorities --finish"
            }
            _ => "usernetes certs rotate-authorities",
        }
    }
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The new authorities issue certificates, and the old ones are still trusted.
    Begin,
    /// The old authorities are no longer trusted.
    Finish,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make new authorities and come to the first stage.
    Prepare,
    /// Give the running services what the present stage wants.
    Settle(Stage),
    /// Come to this stage.
    Enter(Stage),
    /// Forget the old authorities.
    Forget,
    /// Nothing.
    Rest,
}

/// The next step towards a goal. A stage that was interrupted settles first.
#[must_use]
pub fn next_step(present: Option<&Rotation>, goal: Goal) -> Step {
    let Some(present) = present else {
        return match goal {
            Goal::Begin => Step::Prepare,
            Goal::Finish => Step::Rest,
        };
    };
    match (present.stage, present.settled, goal) {
        (stage, false, _) => Step::Settle(stage),
        (Stage::Trust, true, _) => Step::Enter(Stage::Issue),
        (Stage::Issue, true, Goal::Begin) => Step::Rest,
        (Stage::Issue, true, Goal::Finish) => Step::Enter(Stage::Finish),
        (Stage::Finish, true, _) => Step::Forget,
    }
}

/// The replacement that is under way; `None` if there is none.
pub fn rotation(config_dir: &Path) -> Result<Option<Rotation>> {
    let file = stage_file(config_dir);
    let Some(text) = files::read(&file)? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::new(Kind::Input, format!("{}: {error}", file.display()))
            .expected("how far the replacement of the authorities is")
            .hint("restore the file from a backup, or use the release that wrote it")
    })
}

/// Makes new authorities and a new key for service accounts beside the present ones, and comes to the stage
/// [`Trust`](Stage::Trust). Does nothing if a replacement is under way. Afterwards everything is on disk. Fails if an authority
/// or its key is missing, or has expired: then no component trusts it any more.
pub fn begin_rotation(config_dir: &Path, now: SystemTime) -> Result<()> {
    let _lock = files::lock(config_dir)?;
    if rotation(config_dir)?.is_some() {
        return Ok(());
    }
    let now = seconds(now)?;
    let mut copies = Vec::new();
    for which in Authority::ALL {
        let credential = which.credential();
        let (certificate, key) = pair(config_dir, credential)?;
        check(config_dir, which, &certificate, &key, now)?;
        copies.push((OLD, credential, certificate, key));
        let key = Key::generate()?;
        let day = rfc3339(now);
        let name = format!("{} {}", which.common_name(), day.get(..10).unwrap_or(&day));
        let certificate = Certificate::authority(&name, &key, now)?;
        copies.push((NEW, credential, certificate.pem, key.pem));
    }
    let credential = Credential::ServiceAccounts;
    let (public, key) = pair(config_dir, credential)?;
    copies.push((OLD, credential, public, key));
    let key = Key::generate()?;
    copies.push((NEW, credential, key.pair.public_key_pem(), key.pem));
    let directory = directory(config_dir);
    remove_tree(&directory)?;
    // It appears with something in it: an empty one is the rest of a replacement that has ended.
    let temporary = temporary(&directory);
    remove_tree(&temporary)?;
    let made = [OLD, NEW]
        .iter()
        .try_for_each(|name| private_directory(&temporary.join(name)));
    let made = made.and_then(|()| Ok(fs_err::rename(&temporary, directory)?));
    or_remove(&temporary, made)?;
    for (name, credential, public, key) in &copies {
        let [public_file, key_file] = places(config_dir, name, *credential);
        replace(&public_file, public.as_bytes(), PUBLIC)?;
        replace(&key_file, key.as_bytes(), SECRET)?;
    }
    write(config_dir, Stage::Trust, false, now)
}

/// Comes to a stage. Afterwards that is on disk, and nothing else has changed.
pub fn enter_stage(config_dir: &Path, stage: Stage, now: SystemTime) -> Result<()> {
    let _lock = files::lock(config_dir)?;
    write(config_dir, stage, false, seconds(now)?)
}

/// Records that all running services have what the present stage wants. Afterwards that is on disk.
pub fn settle_stage(config_dir: &Path, now: SystemTime) -> Result<()> {
    let _lock = files::lock(config_dir)?;
    match rotation(config_dir)? {
        Some(present) => write(config_dir, present.stage, true, seconds(now)?),
        None => Ok(()),
    }
}

/// Forgets the authorities from before and their keys. If this is interrupted, it can be done again: the last stage needs none of
/// them any more once it has [settled](Rotation::settled).
pub fn end_rotation(config_dir: &Path) -> Result<()> {
    let _lock = files::lock(config_dir)?;
    let directory = directory(config_dir);
    // The file that says how far it is comes last.
    for name in [OLD, NEW] {
        remove_tree(&directory.join(name))?;
    }
    remove_tree(&directory)?;
    sync_parent(&directory)
}

/// Whether [`end_rotation`] was interrupted at its very end.
pub fn end_was_interrupted(config_dir: &Path) -> Result<bool> {
    let directory = directory(config_dir);
    Ok(directory.is_dir() && contents(&directory)?.is_empty())
}

/// The id that tokens of service accounts from before have in their head; `None` if no replacement is under way. It is the
/// digest of the public key (kubernetes, `pkg/serviceaccount/jwt.go`, `keyIDFromPublicKey`).
pub fn old_token_key(config_dir: &Path) -> Result<Option<Sha256>> {
    if rotation(config_dir)?.is_none_or(Rotation::is_over) {
        return Ok(None);
    }
    let [_, file] = places(config_dir, OLD, Credential::ServiceAccounts);
    let key = files::read(&file)?.unwrap_or_default();
    let key = Key::parse(key).about(|| file.display())?;
    Ok(Some(Sha256::of(&key.public())))
}

/// What a replacement that is under way wants of the files.
pub(super) struct Wanted {
    /// The texts of files that differ from stage to stage, by their paths relative to the configuration directory.
    texts: BTreeMap<PathBuf, String>,
    /// All certificates of each authority, the old ones and the new ones.
    known: Vec<(Authority, Vec<Certificate>)>,
    /// Those from before, as long as they issue what others verify.
    late: Vec<(Authority, Certificate, Key)>,
}

impl Wanted {
    /// Reads it; `None` if no replacement is under way, or if only [`end_rotation`] is left to do.
    pub(super) fn read(config_dir: &Path, now: i64) -> Result<Option<Self>> {
        let Some(rotation) = rotation(config_dir)?.filter(|r| !r.is_over()) else {
            return Ok(None);
        };
        let mut wanted = Self {
            texts: BTreeMap::new(),
            known: Vec::new(),
            late: Vec::new(),
        };
        let stage = rotation.stage;
        for which in Authority::ALL {
            let (old, new) = wanted.add(config_dir, stage, which.credential())?;
            let known = Certificate::parse_all(&format!("{}\n{}", old.0, new.0))?;
            wanted.known.push((which, known));
            let certificate = Certificate::parse(&old.0)?;
            if stage == Stage::Issue && !certificate.has_expired(now) {
                wanted
                    .late
                    .push((which, certificate, Key::parse(old.1.clone())?));
            }
        }
        wanted.add(config_dir, stage, Credential::ServiceAccounts)?;
        Ok(Some(wanted))
    }

    /// Adds the files of a credential, and gives the old and the new ones.
    fn add(
        &mut self,
        config_dir: &Path,
        stage: Stage,
        credential: Credential,
    ) -> Result<(Texts, Texts)> {
        let old = copy(config_dir, OLD, credential)?;
        let new = copy(config_dir, NEW, credential)?;
        let public = match stage {
            Stage::Trust => format!("{}\n{}", old.0.trim_end(), new.0),
            Stage::Issue => format!("{}\n{}", new.0.trim_end(), old.0),
            Stage::Finish => new.0.clone(),
        };
        let key = if stage == Stage::Trust {
            &old.1
        } else {
            &new.1
        };
        self.texts.insert(credential.certificate(), public);
        self.texts.insert(credential.key(), key.clone());
        Ok((old, new))
    }

    /// The text that a file should have; `None` if it is the same at every stage.
    pub(super) fn text(&self, relative: &Path) -> Option<&String> {
        self.texts.get(relative)
    }

    /// All certificates of an authority.
    pub(super) fn known(&self, which: Authority) -> Vec<Certificate> {
        let mut of = self.known.iter().filter(|(known, _)| *known == which);
        of.next().map(|(_, all)| all.clone()).unwrap_or_default()
    }

    /// The authority from before, if it still issues what others verify.
    pub(super) fn late(&self, which: Authority) -> Option<(&Certificate, &Key)> {
        let late = self.late.iter().find(|(of, ..)| *of == which)?;
        Some((&late.1, &late.2))
    }
}

/// A certificate or public key, and the private key.
type Texts = (String, String);

fn directory(config_dir: &Path) -> PathBuf {
    config_dir.join(MASTER).join(ROTATION)
}

fn stage_file(config_dir: &Path) -> PathBuf {
    directory(config_dir).join(STAGE)
}

fn write(config_dir: &Path, stage: Stage, settled: bool, since: i64) -> Result<()> {
    let rotation = Rotation {
        stage,
        settled,
        since,
    };
    let text =
        serde_json::to_string(&rotation).map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
    replace(&stage_file(config_dir), text.as_bytes(), SECRET)
}

/// Where a credential's two files are, among the old or among the new ones.
fn places(config_dir: &Path, name: &str, credential: Credential) -> [PathBuf; 2] {
    [credential.certificate(), credential.key()].map(|file| {
        let name = directory(config_dir).join(name);
        name.join(file.file_name().unwrap_or_default())
    })
}

fn copy(config_dir: &Path, name: &str, credential: Credential) -> Result<Texts> {
    let [public, key] = places(config_dir, name, credential).map(|file| needed(&file));
    Ok((public?, key?))
}

/// Both files of a credential as they are now.
fn pair(config_dir: &Path, credential: Credential) -> Result<Texts> {
    let [public, key] =
        [credential.certificate(), credential.key()].map(|file| needed(&config_dir.join(file)));
    Ok((public?, key?))
}

fn needed(file: &Path) -> Result<String> {
    files::read(file)?.ok_or_else(|| {
        Error::new(Kind::Input, format!("{}: no such file", file.display()))
            .expected("a file that replacing the authorities needs")
            .hint("restore it from a backup")
    })
}

/// Fails if an authority cannot be replaced step by step.
fn check(
    config_dir: &Path,
    which: Authority,
    certificate: &str,
    key: &str,
    now: i64,
) -> Result<()> {
    let file = config_dir.join(which.credential().certificate());
    let certificate = Certificate::parse(certificate).about(|| file.display())?;
    let key = Key::parse(key.to_owned()).about(|| file.display())?;
    if key.public() != certificate.public_key {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: the certificate of the {which} does not belong to its key",
                file.display()
            ),
        )
        .hint("restore both files from the same backup"));
    }
    if certificate.has_expired(now) {
        return Err(Error::new(
            Kind::Input,
            format!("{}: the {which} has expired", file.display()),
        )
        .expected("an authority that the running components trust")
        .found(format!("not after {}", rfc3339(certificate.not_after)))
        .hint(format!(
            "make new certificates at once: `usernetes stop`, move `{}` and `{}` away, and run `usernetes install`",
            config_dir.join(MASTER).display(),
            config_dir.join(super::NODE).display()
        )));
    }
    Ok(())
}
