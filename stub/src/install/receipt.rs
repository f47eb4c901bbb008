//! What an installation has written outside its own directories, so that `uninstall` removes this and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::layout::Layout;

/// Its name in the data directory.
const NAME: &str = "installed.json";

/// What was installed, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The generation whose programs the units run.
    pub generation: u64,
    /// The text of the configuration that everything was made from.
    pub config: String,
    /// Unit files, with the digests of the contents they may have: one, or two where an installation was cut short.
    pub units: BTreeMap<PathBuf, BTreeSet<Sha256>>,
    /// Unit names that were enabled.
    pub enabled: BTreeSet<String>,
    /// Directories that were not there before, shared with others, to be removed when they are empty.
    pub directories: BTreeSet<PathBuf>,
    /// Whether lingering was switched on by the installation.
    pub linger: bool,
    /// Whether what runs may have been started before the last change.
    pub stale: bool,
}

impl Receipt {
    /// Reads it; `None` if nothing was installed.
    pub fn read(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(NAME);
        let text = match fs_err::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let receipt = serde_json::from_str(&text).map_err(|e| {
            Error::new(Kind::Input, format!("{}: {e}", path.display()))
                .expected("the list of units that `install` wrote")
                .hint(format!(
                    "remove {} if you have not put it there, and run `install` again",
                    path.display()
                ))
        })?;
        Ok(Some(receipt))
    }

    /// Writes it. Afterwards it is on disk.
    pub fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
        replace(&data_dir.join(NAME), &format!("{text}\n"), 0o600)
    }

    /// Removes it.
    pub fn remove(data_dir: &Path) -> Result<()> {
        remove(&data_dir.join(NAME))
    }

    /// Fails if a file that is about to be written is there already and is not ours. What has the new text may be.
    pub fn check_units(&self, units: &BTreeMap<PathBuf, String>) -> Result<()> {
        for (path, text) in units {
            let Some(found) = digest(path)? else { continue };
            if found == Sha256::of(text.as_bytes()) || self.owns(path, found) {
                continue;
            }
            let what = if self.units.contains_key(path) {
                (
                    "was changed since it was installed",
                    "the unit as it was installed; own settings go into drop-ins, see `systemctl --user edit`",
                )
            } else {
                (
                    "is there already, and was not written by `usernetes install`",
                    "no unit of this name",
                )
            };
            return Err(Error::new(Kind::Input, format!("{} {}", path.display(), what.0))
                .expected(what.1)
                .hint(format!("uninstall what it belongs to (the shell-script Usernetes has `uninstall.sh`), or move it away: `mv {0} {0}.old`", path.display())));
        }
        Ok(())
    }

    fn owns(&self, path: &Path, digest: Sha256) -> bool {
        self.units
            .get(path)
            .is_some_and(|digests| digests.contains(&digest))
    }

    /// Writes the unit files that differ and removes those that are no longer wanted. The receipt on disk covers every
    /// state in between. Gives whether anything changed.
    pub fn write_units(
        &mut self,
        data_dir: &Path,
        units: &BTreeMap<PathBuf, String>,
    ) -> Result<bool> {
        let mut wanted = BTreeMap::new();
        for (path, text) in units {
            wanted.insert(path.clone(), BTreeSet::from([Sha256::of(text.as_bytes())]));
        }
        let mut differing = Vec::new();
        for (path, text) in units {
            if digest(path)? != Some(Sha256::of(text.as_bytes())) {
                differing.push((path, text));
            }
        }
        let unwanted: Vec<_> = self
            .units
            .keys()
            .filter(|path| !units.contains_key(*path))
            .cloned()
            .collect();
        if differing.is_empty() && unwanted.is_empty() {
            self.units = wanted;
            return Ok(false);
        }
        for (path, digests) in &wanted {
            self.units.entry(path.clone()).or_default().extend(digests);
        }
        self.write(data_dir)?;
        for (path, text) in differing {
            replace(path, text, 0o644)?;
        }
        for path in unwanted {
            // One that somebody changed stays; it is no longer ours.
            if let Some(found) = digest(&path)?
                && self.owns(&path, found)
            {
                remove(&path)?;
            }
        }
        self.units = wanted;
        Ok(true)
    }

    /// Removes the unit files, and gives those that were changed since and stay.
    pub fn remove_units(&self) -> Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for path in self.units.keys() {
            remove(&temporary(path))?;
            match digest(path)? {
                Some(found) if self.owns(path, found) => remove(path)?,
                Some(_) => changed.push(path.clone()),
                None => {}
            }
        }
        Ok(changed)
    }
}

/// The directories on the way to the given ones that do not exist yet.
pub(super) fn missing_directories<'a>(
    wanted: impl IntoIterator<Item = &'a Path>,
) -> BTreeSet<PathBuf> {
    let all = wanted.into_iter().flat_map(Path::ancestors);
    all.filter(|dir| !dir.exists())
        .map(Path::to_owned)
        .collect()
}

/// Where the user's unit files are: beside our own configuration directory, as systemd looks there.
#[must_use]
pub fn unit_dir(layout: &Layout) -> PathBuf {
    layout.config().with_file_name("systemd").join("user")
}

/// The digest of a file; `None` if there is none.
fn digest(path: &Path) -> Result<Option<Sha256>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(Sha256::of(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Gives a file a new content in one step. Afterwards that is on disk.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs_err::create_dir_all(dir)?;
    let temporary = temporary(path);
    remove(&temporary)?;
    let mut options = fs_err::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs_err::rename(&temporary, path)?;
    Ok(fs_err::File::open(dir)?.sync_all()?)
}

/// Where a file is written before it gets its name. systemd does not look at names that begin with a dot.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".{}.new", name.display()))
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}
