//! Reading a backup.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::volumes;
use super::{CONFIG, CONTENTS, Contents, IMAGES, MEMBER, SCHEMA, SNAPSHOT};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::private_directory;
use crate::progress::Progress;

/// The longest list of contents that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// A backup whose list of contents was read.
#[derive(Debug)]
pub struct Backup {
    file: PathBuf,
    /// Its contents.
    pub contents: Contents,
}

impl Backup {
    /// Reads the list of contents. Fails if the file is no backup, is not complete, or is of a later format.
    pub fn open(file: &Path) -> Result<Self> {
        let mut found = None;
        let mut tar = tar::Archive::new(fs::File::open(file)?);
        for entry in tar
            .entries_with_seek()
            .map_err(|e| not_a_backup(file, &e))?
        {
            let entry = entry.map_err(|e| not_a_backup(file, &e))?;
            if entry.path_bytes().as_ref() == CONTENTS.as_bytes() {
                let mut text = String::new();
                let read = entry.take(LONGEST).read_to_string(&mut text);
                read.map_err(|e| not_a_backup(file, &e))?;
                found = Some(text);
            }
        }
        let text = found.ok_or_else(|| not_a_backup(file, &format!("it has no `{CONTENTS}`")))?;
        let contents: Contents = serde_json::from_str(&text)
            .map_err(|e| not_a_backup(file, &format!("`{CONTENTS}`: {e}")))?;
        if contents.schema > SCHEMA {
            return Err(Error::new(
                Kind::Input,
                format!("{}: this backup is of a later release", file.display()),
            )
            .expected(format!("format {SCHEMA}"))
            .found(format!(
                "format {}, made by release {}",
                contents.schema, contents.release
            ))
            .hint("restore it with that release or a later one"));
        }
        let backup = Self {
            file: file.to_owned(),
            contents,
        };
        backup.check_names()?;
        Ok(backup)
    }

    /// Whether etcd's data is a snapshot of a running cluster.
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.contents.files.contains_key(SNAPSHOT)
    }

    /// Whether there is any of etcd's data in it.
    #[must_use]
    pub fn has_data(&self) -> bool {
        let member = |name: &String| name.starts_with(&format!("{MEMBER}/"));
        self.has_snapshot() || self.contents.files.keys().any(member)
    }

    /// Reads every byte and compares it with the list of contents. Gives the text of the configuration.
    pub fn verify(&self, progress: &Progress) -> Result<String> {
        let mut config = Vec::new();
        // Only for the picture of the progress: the list may say anything.
        let sizes = self.contents.files.values().map(|f| f.size);
        let total = sizes.fold(0, u64::saturating_add);
        let task = progress.task("verify", total);
        self.each(
            |_| true,
            |name, entry| {
                if name == CONFIG {
                    entry.read_to_end(&mut config)?;
                    return Ok(Sha256::of(&config));
                }
                let (digest, size) = Sha256::of_reader(entry)?;
                task.advance(size);
                Ok(digest)
            },
        )?;
        task.clear();
        Ok(String::from_utf8_lossy(&config).into_owned())
    }

    /// The names of the files of the user's images in it.
    pub(super) fn images(&self) -> impl Iterator<Item = String> {
        let names = self.contents.files.keys();
        names.filter_map(|name| Some(name.strip_prefix(IMAGES)?.strip_prefix('/')?.to_owned()))
    }

    /// Whether there is any data of volumes in it.
    pub(super) fn has_volumes(&self) -> bool {
        self.contents
            .files
            .keys()
            .any(|name| volumes::is_part(name))
    }

    /// Writes the archive of the volumes. Each part is compared with its digest as it goes.
    pub(super) fn write_volumes(&self, output: &mut dyn Write) -> Result<()> {
        self.each(volumes::is_part, |_, entry| {
            let mut part = Vec::new();
            entry.read_to_end(&mut part)?;
            output.write_all(&part)?;
            Ok(Sha256::of(&part))
        })
    }

    /// Writes its files, without volumes, below a directory, where nobody else may read them. Each is on disk and compared with its digest
    /// afterwards; if one differs, the directory is not complete.
    pub(super) fn unpack(&self, dir: &Path) -> Result<()> {
        private_directory(dir)?;
        self.each(
            |name| !volumes::is_part(name),
            |name, entry| {
                let path = dir.join(name);
                private_directory(path.parent().unwrap_or(dir)).map_err(io::Error::other)?;
                // Only certificates may be read by everybody.
                let ends = |with: &str| name.ends_with(with);
                let public = ends(".pem") && !ends("-key.pem");
                let mut options = fs::OpenOptions::new();
                options.write(true).create(true).truncate(true);
                options.mode(if public { 0o644 } else { 0o600 });
                let mut file = options.open(&path)?;
                io::copy(entry, &mut file)?;
                file.sync_all()?;
                Ok(Sha256::of_reader(fs::File::open(&path)?)?.0)
            },
        )
    }

    /// Gives each file that is wanted to `read`, which gives the digest of its bytes. Fails if one differs or is missing.
    fn each(
        &self,
        wanted: impl Fn(&str) -> bool,
        mut read: impl FnMut(&str, &mut dyn Read) -> io::Result<Sha256>,
    ) -> Result<()> {
        let file = &self.file;
        let names = self.contents.files.keys();
        let mut missing: BTreeSet<_> = names.filter(|name| wanted(name)).collect();
        let mut tar = tar::Archive::new(fs::File::open(file)?);
        for entry in tar.entries().map_err(|e| not_a_backup(file, &e))? {
            let mut entry = entry.map_err(|e| not_a_backup(file, &e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(known) = self.contents.files.get(&name).filter(|_| wanted(&name)) else {
                continue;
            };
            let digest = read(&name, &mut entry).about(|| format!("{}: {name}", file.display()))?;
            if digest != known.sha256 || !missing.remove(&name) {
                return Err(damaged(file, &name).expected(known.sha256).found(digest));
            }
        }
        match missing.first() {
            Some(name) => Err(damaged(file, name).found("it is missing")),
            None => Ok(()),
        }
    }

    /// Fails if a name would lead out of the directory that it is unpacked to.
    fn check_names(&self) -> Result<()> {
        let inside = |name: &&String| {
            let mut parts = Path::new(name).components();
            parts.all(|part| matches!(part, Component::Normal(_)))
        };
        match self.contents.files.keys().find(|name| !inside(name)) {
            Some(name) => Err(not_a_backup(&self.file, &format!("it has a file `{name}`"))),
            None => Ok(()),
        }
    }
}

fn not_a_backup(file: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        Kind::Input,
        format!("{}: this is not a complete backup", file.display()),
    )
    .expected("a file that `usernetes backup` made")
    .found(why)
    .hint("choose another file; nothing was changed")
}

fn damaged(file: &Path, name: &str) -> Error {
    Error::new(
        Kind::Integrity,
        format!("{}: `{name}` is damaged", file.display()),
    )
    .hint("choose another backup; nothing was changed")
}
