//! What an installation has written outside its own directories, so that `uninstall` removes this and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{remove_if_there, replace, temporary};
use crate::kubeconfig::user::Merges;
use crate::layout::Layout;
use crate::paths;

/// Its name in the data directory.
const NAME: &str = "installed.json";

/// What was installed, and how. Other versions may know other fields: what is not there is as if nothing had been
/// done, what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// The generation whose programs the units run; 0 if there are no units.
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
    /// What `kubeconfig merge` has written into the user's own kubeconfigs.
    pub kubeconfigs: Merges,
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
                    "run `install` again after removing it and the units, all of which are made anew: `rm {}{}`",
                    path.display(),
                    units_of_user()
                ))
        })?;
        Ok(Some(receipt))
    }

    /// The configuration that everything was made from; `None` if nothing was.
    pub fn configuration(&self) -> Result<Option<Config>> {
        if self.config.is_empty() {
            return Ok(None);
        }
        Config::parse(&self.config)
            .map(Some)
            .about(|| format!("the configuration of the last installation in {NAME}"))
            .hint(|| "run `usernetes install`, which applies that of `config.toml`".to_owned())
    }

    /// Writes it. Afterwards it is on disk.
    pub fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
        replace(&data_dir.join(NAME), format!("{text}\n").as_bytes(), 0o600)
    }

    /// What is to be remembered when the units are removed.
    pub(super) fn without_units(self) -> Self {
        Self {
            config: self.config,
            directories: self.directories,
            kubeconfigs: self.kubeconfigs,
            ..Self::default()
        }
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
            replace(path, text.as_bytes(), 0o644)?;
        }
        for path in unwanted {
            // One that somebody changed stays; it is no longer ours.
            if let Some(found) = digest(&path)?
                && self.owns(&path, found)
            {
                remove_if_there(&path)?;
            }
        }
        self.units = wanted;
        Ok(true)
    }

    /// Removes the unit files, and gives those that were changed since and stay.
    pub fn remove_units(&self) -> Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for path in self.units.keys() {
            remove_if_there(&temporary(path))?;
            match digest(path)? {
                Some(found) if self.owns(path, found) => remove_if_there(path)?,
                Some(_) => changed.push(path.clone()),
                None => {}
            }
        }
        Ok(changed)
    }
}

/// The configuration that what is installed was made from and runs by: `config.toml` may have been edited since. Where
/// nothing was installed yet, what that file says.
pub fn applied(layout: &Layout) -> Result<Config> {
    let receipt = Receipt::read(&layout.data(""))?.unwrap_or_default();
    match receipt.configuration()? {
        Some(config) => Ok(config),
        None => Config::read(&layout.config_file()),
    }
}

/// A pattern for our unit files after a space, as a shell takes it.
fn units_of_user() -> String {
    paths::config_dir().map_or(String::new(), |config| {
        format!(" {}/u7s*", unit_dir_beside(&config).display())
    })
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
    unit_dir_beside(layout.config())
}

fn unit_dir_beside(config: &Path) -> PathBuf {
    config.with_file_name("systemd").join("user")
}

/// The digest of a file; `None` if there is none.
fn digest(path: &Path) -> Result<Option<Sha256>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(Sha256::of(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_counts_until_something_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let [config, data] = ["config", "data"].map(|name| dir.path().join(name));
        let layout = Layout::new(config, data.clone(), "/r".into(), "/g".into()).unwrap();
        let text = |name: &str| {
            let name = crate::config::DnsName::new(name).unwrap();
            Config::new(name, crate::config::Cni::Bridge).to_text()
        };
        replace(&layout.config_file(), text("edited").as_bytes(), 0o600).unwrap();
        let name = || applied(&layout).unwrap().node_name.to_string();
        assert_eq!(name(), "edited");
        fs_err::create_dir(&data).unwrap();
        let receipt = Receipt {
            config: text("applied"),
            ..Receipt::default()
        };
        receipt.write(&data).unwrap();
        assert_eq!(name(), "applied");
    }

    #[test]
    fn a_receipt_of_another_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        fs_err::write(
            &file,
            r#"{"generation": 3, "linger": true, "owner": "later"}"#,
        )
        .unwrap();
        let expected = Receipt {
            generation: 3,
            linger: true,
            ..Receipt::default()
        };
        assert_eq!(Receipt::read(dir.path()).unwrap(), Some(expected));
        fs_err::write(&file, "{").unwrap();
        let error = Receipt::read(dir.path()).unwrap_err().to_string();
        let hint = format!("all of which are made anew: `rm {} ", file.display());
        assert!(error.contains(&hint), "{error}");
        assert!(error.contains("/systemd/user/u7s*`"), "{error}");
    }
}
