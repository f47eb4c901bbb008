//! A generation: one complete installed system, made of links into the store.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::tree::{Entry, Tree};
use crate::bundle::{Component, Manifest};
use crate::digest::Sha256;
use crate::error::{Context, Error, Kind, Result};
use crate::files::replace;
use crate::signature::Verdict;

/// Name of the manifest in a generation's directory.
const MANIFEST: &str = "manifest.json";

/// Name of the file with the bundle's origin as it was known when the generation was made.
const ORIGIN: &str = "origin.json";

/// Name of the file with the configuration that the generation was last applied with.
const CONFIGURATION: &str = "config.toml";

/// One complete installed system.
#[derive(Debug, Clone)]
pub struct Generation {
    number: u64,
    path: PathBuf,
    store: PathBuf,
    id: Sha256,
    manifest: Manifest,
}

impl Generation {
    /// Reads a generation's manifest.
    pub(super) fn read(number: u64, path: PathBuf, store: PathBuf) -> Result<Self> {
        let file = path.join(MANIFEST);
        let hint = || "run `install` again with the bundle it came from".to_owned();
        let text = fs_err::read(&file).hint(hint)?;
        let manifest = Manifest::decode(&text)
            .map_err(|e| Error::new(Kind::Integrity, e.message()))
            .about(|| file.display().to_string())
            .hint(hint)?;
        let id = Sha256::of(&text);
        Ok(Self {
            number,
            path,
            store,
            id,
            manifest,
        })
    }

    /// Writes the directory of a generation under a temporary name. Nothing is synced.
    pub(super) fn write(
        disk: Disk,
        path: &Path,
        manifest: &Manifest,
        origin: &Verdict,
    ) -> Result<()> {
        disk.create_dirs(path)?;
        disk.write_new(&path.join(MANIFEST), &manifest.encode(), 0o444)?;
        let text = serde_json::to_vec(origin)
            .map_err(|e| Error::new(Kind::Failed, format!("cannot record the origin: {e}")))?;
        disk.write_new(&path.join(ORIGIN), &text, 0o444)?;
        let components = manifest.installed_components()?;
        for (name, entry) in Tree::of_generation(&components).entries {
            match entry {
                Entry::Directory => disk.create_dirs(&path.join(name))?,
                Entry::Link { target } => disk.symlink(&target, &path.join(name))?,
                Entry::File { .. } => {}
            }
        }
        Ok(())
    }

    /// Its number. Later generations have higher numbers, and no number is used twice.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory with all its programs. It names this generation, whichever is current.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.path.join("bin")
    }

    /// The id of the bundle it was installed from.
    #[must_use]
    pub fn id(&self) -> Sha256 {
        self.id
    }

    /// The manifest of the bundle it was installed from.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The origin of its bundle as it was known when the generation was made. Without a record, nothing was known.
    pub fn origin(&self) -> Result<Verdict> {
        let file = self.path.join(ORIGIN);
        let text = match fs_err::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Unsigned),
            text => text?,
        };
        serde_json::from_slice(&text).map_err(|e| {
            Error::new(Kind::Integrity, format!("{}: {e}", file.display()))
                .expected("the bundle's origin, as `install` recorded it")
                .hint("run `install --repair` with the bundle it came from")
        })
    }

    /// The text of the configuration it was last applied with; `None` if it never was, or by a release that kept no record.
    pub fn configuration(&self) -> Result<Option<String>> {
        match fs_err::read_to_string(self.path.join(CONFIGURATION)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Some(text?)),
        }
    }

    /// Records the text of the configuration it is applied with. Afterwards the text is on disk.
    pub fn keep_configuration(&self, text: &str) -> Result<()> {
        if self.configuration()?.as_deref() == Some(text) {
            return Ok(());
        }
        replace(&self.path.join(CONFIGURATION), text.as_bytes(), 0o600)
    }

    /// Its components, the stub among them, sorted by name.
    pub fn components(&self) -> Result<Vec<Component>> {
        self.manifest.installed_components()
    }

    /// The directory in the store of its component of that name, if it has one.
    #[must_use]
    pub fn component_dir(&self, name: &str) -> Option<PathBuf> {
        let components = self.components().ok()?;
        let component = components.iter().find(|c| c.name.as_str() == name)?;
        Some(self.store.join(component.store_name()))
    }
}

/// The number in the name of a generation's directory, if it is one.
pub(super) fn parse_number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(number)
}
