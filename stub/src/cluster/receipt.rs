//! The receipt: everything that an installation has written outside its own directories, so that `uninstall` removes this
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Versions;
use crate::config::Config;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::file_system::{read_if_there, same};
use crate::files::{
    New, contents, make_directories, remove_if_there, replace, replace_all, replace_link, temporary,
};
use crate::host::Machine;
use crate::layout::Layout;
use crate::paths;
use crate::paths::{PLACES, Places, from_home};
use crate::services::{UnitName, all_unit_names};
use crate::user_kubeconfig::Merges;

/// Its name in the data directory.
pub(crate) const NAME: &str = "installed.json";

/// The directory, in that of units, with links to those that start with the login.
pub(crate) const WANTS: &str = "default.target.wants";

/// What was installed, and how. Other releases may know other fields: a missing field means that nothing was done, an unknown
/// one is left out.
///
/// Only `places` says where it was written. Units are names in the present directory of units, and directories begin at the
/// present home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// The generation whose programs the units run; 0 if there are no units.
    pub generation: u64,
    /// The versions of its programs that the data depends on.
    pub versions: Versions,
    /// The text of the configuration that everything was made from.
    pub config: String,
    /// Names of unit files, with the digests of the contents they may have: one, or two if an installation was interrupted.
    /// A unit with another content is not ours.
    pub units: BTreeMap<String, BTreeSet<Sha256>>,
    /// Unit names that were enabled: those of links in `default.target.wants`.
    pub enabled: BTreeSet<String>,
    /// Directories that the installation made and shares with other programs, to be removed when they are empty. Those in
    /// the home are relative to it.
    pub directories: BTreeSet<PathBuf>,
    /// Where the units were written, and the places that they name.
    pub places: Places,
    /// Whether lingering was switched on by the installation.
    pub linger: bool,
    /// Whether running services may have been started before the last change, in the boot that `boot` names.
    pub stale: bool,
    /// The kernel's id of the boot in which `stale` was set; empty if that is not known.
    pub boot: String,
    /// The entries that `kubeconfig merge` has written into the user's own kubeconfigs.
    pub kubeconfigs: Merges,
}

/// Where the user's unit files are below the home, if nobody has moved the base of configuration.
const USUAL_UNIT_DIR: &str = ".config/systemd/user";

impl Receipt {
    /// Reads it; `None` if nothing was installed.
    pub fn read(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(NAME);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let receipt: Self = serde_json::from_str(&text).map_err(|e| {
            Error::new(Kind::Input, format!("{}: {e}", path.display()))
                .expected("the list of units that `install` wrote")
                .hint(format!(
                    "run `install` again after removing it and the units, all of which are made anew: `rm {}{}`",
                    path.display(),
                    units_of_user()
                ))
        })?;
        Ok(Some(receipt.normalized()))
    }

    /// Converts the receipt of an earlier release, which named units and directories by their absolute paths.
    fn normalized(mut self) -> Self {
        let units = std::mem::take(&mut self.units);
        for (path, digests) in units {
            let path = Path::new(&path);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.units
                .entry(name.into_owned())
                .or_default()
                .extend(digests);
            if let Some(dir) = path.parent().filter(|dir| dir.is_absolute())
                && self.places == Places::default()
            {
                let base = dir.ancestors().nth(2).unwrap_or(dir);
                self.places.config = base.join(paths::PROJECT);
                let home = dir
                    .ancestors()
                    .nth(Path::new(USUAL_UNIT_DIR).iter().count());
                if let Some(home) = home.filter(|_| dir.ends_with(USUAL_UNIT_DIR)) {
                    self.places.config = from_home(&self.places.config, home);
                    home.clone_into(&mut self.places.home);
                }
            }
        }
        let directories = std::mem::take(&mut self.directories);
        self.remember_directories(directories);
        self
    }

    /// Adds directories that do not exist yet and are about to be made.
    pub(crate) fn remember_directories(&mut self, dirs: impl IntoIterator<Item = PathBuf>) {
        let home = &self.places.home;
        self.directories
            .extend(dirs.into_iter().map(|dir| from_home(&dir, home)));
    }

    /// The directories to remove when they are empty, the deepest first: those that lead to the layout's own directories,
    /// and none of another home.
    pub(crate) fn directories_of(&self, layout: &Layout) -> Vec<PathBuf> {
        let home = paths::home_dir().unwrap_or_default();
        let ours = shared_directories(layout);
        let dirs = self.directories.iter().rev().map(|dir| home.join(dir));
        dirs.filter(|dir| ours.iter().any(|path| path.starts_with(dir)))
            .collect()
    }

    /// Where everything was when the units were written, if that is another place than now: the home was moved or copied.
    /// The units name that place.
    #[must_use]
    pub fn moved_from(&self, layout: &Layout) -> Option<PathBuf> {
        if self.units.is_empty() {
            return None;
        }
        let known = |path: &Path| !path.as_os_str().is_empty();
        let places = &self.places;
        let pairs = [
            (
                &places.config,
                places.old_config(),
                layout.config().to_owned(),
            ),
            (
                &places.data,
                places.old_data(),
                layout.data_dir().to_owned(),
            ),
        ];
        let mut pairs = pairs.into_iter().filter(|(path, ..)| known(path));
        pairs
            .find(|(_, old, now)| !same(old, now))
            .map(|(_, old, _)| old)
    }

    /// Whether running services may have been started before the last change. After a reboot none can.
    pub(crate) fn is_stale(&self, machine: &Machine) -> bool {
        self.stale && (self.boot.is_empty() || self.boot == machine.boot_id())
    }

    /// Remembers whether running services were started before a change.
    pub(crate) fn set_stale(&mut self, stale: bool, machine: &Machine) {
        self.stale = stale;
        self.boot = if stale {
            machine.boot_id()
        } else {
            String::new()
        };
    }

    /// The configuration that everything was made from; `None` if nothing was.
    pub fn configuration(&self) -> Result<Option<Config>> {
        if self.config.is_empty() {
            return Ok(None);
        }
        Config::parse_of_any_release(&self.config)
            .map(Some)
            .about(|| format!("the configuration of the last installation in {NAME}"))
    }

    /// Writes it. Afterwards it is on disk.
    pub fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
        replace(&data_dir.join(NAME), format!("{text}\n").as_bytes(), 0o600)
    }

    /// Its units that this release does not know. Another release has installed them, and they may run.
    #[must_use]
    pub fn units_of_others(&self) -> Vec<UnitName> {
        let known = all_unit_names();
        let names = self
            .units
            .keys()
            .filter(|name| !known.contains(name.as_str()));
        names.filter_map(|name| UnitName::recorded(name)).collect()
    }

    /// The part to keep when the units are removed.
    pub(crate) fn without_units(self) -> Self {
        Self {
            versions: self.versions,
            config: self.config,
            directories: self.directories,
            places: self.places,
            kubeconfigs: self.kubeconfigs,
            ..Self::default()
        }
    }

    /// Fails if a unit file that is about to be written exists already, is not ours, and has another text.
    pub fn check_units(&self, dir: &Path, units: &BTreeMap<UnitName, String>) -> Result<()> {
        for (name, text) in units {
            let name = name.as_str();
            let path = dir.join(name);
            let Some(found) = digest(&path)? else {
                continue;
            };
            if found == Sha256::of(text.as_bytes()) || self.owns(name, found) {
                continue;
            }
            let what = if self.units.contains_key(name) {
                (
                    "was changed since it was installed",
                    "the unit as it was installed; put settings of your own into drop-ins, see `systemctl --user edit`",
                )
            } else {
                (
                    "exists already, and was not written by `usernetes install`",
                    "no unit of this name",
                )
            };
            return Err(Error::new(Kind::Input, format!("{} {}", path.display(), what.0))
                .expected(what.1)
                .hint(format!("uninstall what it belongs to (the shell-script Usernetes has `uninstall.sh`), or move it away: `mv {0} {0}.old`", path.display())));
        }
        Ok(())
    }

    fn owns(&self, name: &str, digest: Sha256) -> bool {
        self.units
            .get(name)
            .is_some_and(|digests| digests.contains(&digest))
    }

    /// Writes the unit files that differ and removes those that are no longer wanted. The receipt on disk covers every
    /// state in between. Gives whether anything changed.
    pub fn write_units(
        &mut self,
        data_dir: &Path,
        dir: &Path,
        units: &BTreeMap<UnitName, String>,
    ) -> Result<bool> {
        let mut wanted = BTreeMap::new();
        let mut differing = Vec::new();
        for (name, text) in units {
            let new = Sha256::of(text.as_bytes());
            wanted.insert(name.to_string(), BTreeSet::from([new]));
            let path = dir.join(name.as_str());
            if digest(&path)? != Some(new) {
                differing.push((path, text));
            }
        }
        let unwanted: Vec<_> = self
            .units
            .keys()
            .filter(|name| !units.contains_key(name.as_str()))
            .cloned()
            .collect();
        if differing.is_empty() && unwanted.is_empty() {
            self.units = wanted;
            return Ok(false);
        }
        for (name, digests) in &wanted {
            self.units.entry(name.clone()).or_default().extend(digests);
        }
        self.write(data_dir)?;
        let new = differing.iter().map(|(path, text)| New {
            path,
            bytes: text.as_bytes(),
            mode: 0o644,
        });
        replace_all(dir, &new.collect::<Vec<_>>())?;
        for name in unwanted {
            // A unit that somebody has changed stays. It is no longer ours.
            let path = dir.join(&name);
            if let Some(found) = digest(&path)?
                && self.owns(&name, found)
            {
                remove_if_there(&path)?;
            }
        }
        self.units = wanted;
        Ok(true)
    }

    /// Removes the unit files and the links that enable them from the directory of units. Those that were changed since
    /// they were written stay.
    pub fn remove_units(&self, dir: &Path) -> Result<()> {
        for name in &self.enabled {
            remove_if_there(&dir.join(WANTS).join(name))?;
        }
        for name in self.units.keys() {
            let path = dir.join(name);
            remove_if_there(&temporary(&path))?;
            if let Some(found) = digest(&path)?
                && self.owns(name, found)
            {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Lets these units, and no other one of ours, start with the login. `systemctl --user enable` would make absolute
    /// links; these are relative, so that they survive a move of the home. The receipt on disk covers every state in between.
    pub(crate) fn enable(
        &mut self,
        data_dir: &Path,
        dir: &Path,
        wanted: &BTreeSet<String>,
    ) -> Result<()> {
        let wants = dir.join(WANTS);
        let all: BTreeSet<_> = self.enabled.union(wanted).cloned().collect();
        if self.enabled != all {
            self.enabled = all;
            self.write(data_dir)?;
        }
        for name in self.enabled.difference(wanted) {
            remove_if_there(&wants.join(name))?;
        }
        for name in wanted {
            let (link, target) = (wants.join(name), Path::new("..").join(name));
            if fs_err::read_link(&link).is_ok_and(|found| found == target) {
                continue;
            }
            make_directories(&wants)?;
            replace_link(&target, &link)?;
        }
        if self.enabled != *wanted {
            self.enabled.clone_from(wanted);
            self.write(data_dir)?;
        }
        Ok(())
    }
}

/// Remembers where everything is in the configuration directory. Afterwards that is on disk. Does nothing if it is
/// remembered there.
pub(crate) fn remember_places(places: &Places, config_dir: &Path) -> Result<()> {
    if Places::read(config_dir)?.as_ref() == Some(places) {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(places)
        .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
    replace(
        &config_dir.join(PLACES),
        format!("{text}\n").as_bytes(),
        0o600,
    )
}

/// The configuration that what is installed was made from and runs by: `config.toml` may have been edited since. Where
/// nothing was installed yet, what that file says.
pub fn applied(layout: &Layout) -> Result<Config> {
    let receipt = Receipt::read(layout.data_dir())?.unwrap_or_default();
    let hint = || "run `usernetes install`, which applies that of `config.toml`".to_owned();
    match receipt.configuration().hint(hint)? {
        Some(config) => Ok(config),
        None => Config::read(&layout.config_file()),
    }
}

/// The units of other releases that the receipt of a data directory records.
pub(crate) fn units_of_others(data_dir: &Path) -> Result<Vec<UnitName>> {
    Ok(Receipt::read(data_dir)?
        .unwrap_or_default()
        .units_of_others())
}

/// A pattern for our unit files after a space, as a shell takes it.
fn units_of_user() -> String {
    paths::config_dir().map_or(String::new(), |config| {
        format!(" {}/u7s*", unit_dir_beside(&config).display())
    })
}

/// The directories on the way to those of a layout, below the home, the deepest first. Without a receipt, nobody knows which of
/// them were made for it.
pub(crate) fn ways(layout: &Layout) -> Vec<PathBuf> {
    let home = paths::home_dir().unwrap_or_default();
    let roots = shared_directories(layout);
    let ways = roots.iter().flat_map(|root| root.ancestors());
    let ways = ways.filter(|dir| *dir != home && dir.starts_with(&home));
    let ways: BTreeSet<_> = ways.map(Path::to_owned).collect();
    ways.into_iter().rev().collect()
}

/// The directories that an installation makes among those of others.
fn shared_directories(layout: &Layout) -> [PathBuf; 5] {
    // The runtimes make these even where they are told to keep their state elsewhere.
    let [runc, crun] = ["runc", "crun"].map(|name| layout.runtime_dir().with_file_name(name));
    let data = layout.data_dir().components().collect();
    let config = layout.config().to_owned();
    [unit_dir(layout).join(WANTS), data, config, runc, crun]
}

/// Whether nothing is in a directory but the way to another one, and nothing in that.
fn is_bare(dir: &Path, to: &Path) -> bool {
    let inside = contents(dir).unwrap_or_default();
    let mut inside = inside.iter();
    // A link was made by hand.
    let leads = |path: &Path| to.starts_with(path) && path.is_dir() && !path.is_symlink();
    inside.all(|path| leads(path) && is_bare(path, to))
}

/// The directories of a layout, and those on the way to them, that do not exist yet, or that only an interrupted installation can
/// have made: it has no receipt yet, and nothing else is in them.
pub(crate) fn missing_directories(layout: &Layout, receipt: Option<&Receipt>) -> BTreeSet<PathBuf> {
    let all = shared_directories(layout);
    let data: PathBuf = layout.data_dir().components().collect();
    let home = paths::home_dir().unwrap_or_default();
    let interrupted = receipt.is_none() && !data.is_symlink() && data.join("store").is_dir();
    let made_before = |dir: &Path| {
        if receipt.is_some() || dir == home || !dir.starts_with(&home) || dir.is_symlink() {
            return false;
        }
        let inside = contents(dir).unwrap_or_default();
        // The way to the data is made first.
        let on_the_way = data.starts_with(dir) && is_bare(dir, &data);
        let leads_to_ours = |path: &PathBuf| all.iter().any(|root| root.starts_with(path));
        let is_ours = dir == data || dir == layout.config();
        on_the_way || (interrupted && (is_ours || inside.iter().all(leads_to_ours)))
    };
    let dirs = all.iter().flat_map(|dir| dir.ancestors());
    dirs.filter(|dir| !dir.exists() || made_before(dir))
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

    /// The receipt of a text that some release wrote.
    fn of_release(text: &str) -> Receipt {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(NAME), text).unwrap();
        Receipt::read(dir.path()).unwrap().unwrap()
    }

    #[test]
    fn what_earlier_releases_wrote_is_read_as_if_this_one_had() {
        let receipt = of_release(include_str!("receipts/2026-11.json"));
        let names: Vec<_> = receipt.units.keys().collect();
        assert_eq!(names, ["u7s-etcd.service", "u7s.target"]);
        assert_eq!(receipt.units["u7s.target"].len(), 2);
        let directories: Vec<_> = receipt.directories.iter().collect();
        let directories: Vec<_> = directories.iter().map(|d| d.to_str().unwrap()).collect();
        assert_eq!(
            directories,
            [
                "/run/user/1000/crun",
                ".config/systemd",
                ".config/systemd/user"
            ]
        );
        let places = Places {
            home: "/home/u".into(),
            config: ".config/usernetes".into(),
            data: PathBuf::new(),
        };
        assert_eq!(receipt.places, places);
        assert!(receipt.linger && receipt.stale && receipt.boot.is_empty());

        let receipt = of_release(include_str!("receipts/2026-11-other-base.json"));
        assert!(receipt.units.contains_key("u7s.target"));
        assert_eq!(receipt.places.config, Path::new("/srv/settings/usernetes"));
        assert!(
            receipt
                .directories
                .contains(Path::new("/srv/settings/systemd"))
        );
    }

    #[test]
    fn only_directories_on_the_way_to_what_is_here_are_removed() {
        let home = paths::home_dir().unwrap();
        let (config, data) = (home.join(".config/u"), home.join("disk/u"));
        let layout = Layout::new(config, data, "/run/u7s/u".into(), "/g".into()).unwrap();
        let others = [
            "/home/other/.config/systemd",
            "/srv/settings/systemd",
            "unrelated",
        ];
        let ours = [".config/systemd", "disk", "/run/u7s/crun"];
        let receipt = Receipt {
            directories: others.iter().chain(&ours).map(PathBuf::from).collect(),
            ..Receipt::default()
        };
        let expected = ["disk", ".config/systemd", "/run/u7s/crun"].map(|dir| home.join(dir));
        assert_eq!(receipt.directories_of(&layout), expected);
    }

    #[test]
    fn units_of_other_releases_are_known_by_the_receipt() {
        let names = [
            "u7s-etcd.service",
            "u7s-mirror.service",
            "u7s-mirror.timer",
            "u7s.slice",
            "dbus.service",
            "u7s-a b.service",
        ];
        let receipt = Receipt {
            units: names.map(|name| (name.to_owned(), BTreeSet::new())).into(),
            ..Receipt::default()
        };
        let found = receipt.units_of_others();
        let found: Vec<_> = found.iter().map(UnitName::as_str).collect();
        assert_eq!(found, ["u7s-mirror.service", "u7s-mirror.timer"]);
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
