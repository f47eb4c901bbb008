//! Every place on disk and every environment variable the project uses, in one file.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::file_system::same;
mod at;
mod places;

pub use at::At;
pub use places::Places;
pub(crate) use places::{NAME as PLACES, check_together, from_home};

/// Where the user's home is. Must be set: a static program cannot ask the C library's user database.
pub const HOME: &str = "HOME";
/// Base of persistent data, `$HOME/.local/share` when unset (XDG Base Directory Specification 0.8).
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// Base of configuration, `$HOME/.config` when unset.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Base of caches, `$HOME/.cache` when unset.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Kubeconfigs that kubectl reads, separated by colons.
pub const KUBECONFIG: &str = "KUBECONFIG";
/// Base of sockets and other files that vanish with the last session. Made by the login, there is no other place for them.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// A directory with the files of a machine, which the checks of the machine look at instead of `/`. For tests: they show
/// `install` machines that the one they run on is not. What it installs, it installs on the real one.
pub const MACHINE_ROOT: &str = "USERNETES_MACHINE_ROOT";

/// The project's directory below each of the XDG bases.
pub(crate) const PROJECT: &str = "usernetes";

/// Persistent data: store, generations, `current`, and the data of the cluster.
///
/// It is where the configuration remembers it to be if it is there, whatever the environment says: see
/// [`ignored_data_home`]. Else where the environment says; else in the usual place, unless only this program's own store
/// is an installation. Fails if what is remembered cannot be read.
pub fn data_dir() -> Result<PathBuf> {
    let asked = base(XDG_DATA_HOME, ".local/share");
    let remembered = remembered_data()?;
    if let Some(dir) = remembered.as_ref().filter(|dir| dir.is_dir()) {
        // As the user spells it, if that leads there.
        return Ok(asked
            .ok()
            .filter(|asked| same(asked, dir))
            .unwrap_or_else(|| dir.clone()));
    }
    if absolute(XDG_DATA_HOME).is_some() {
        return asked;
    }
    if asked.as_deref().is_ok_and(is_installed) {
        return asked;
    }
    own_data().or(remembered).map_or(asked, Ok)
}

/// The directory that `XDG_DATA_HOME` asks for and the one that is used instead, because the installation remembers it;
/// `None` if they are the same.
pub fn ignored_data_home() -> Result<Option<(PathBuf, PathBuf)>> {
    let Some(asked) = absolute(XDG_DATA_HOME).map(|dir| dir.join(PROJECT)) else {
        return Ok(None);
    };
    let used = data_dir()?;
    Ok((asked != used).then_some((asked, used)))
}

/// Where the data is as the configuration remembers it.
fn remembered_data() -> Result<Option<PathBuf>> {
    let Ok(config) = config_dir() else {
        return Ok(None);
    };
    let places = Places::read(&config)?.filter(|places| !places.data.as_os_str().is_empty());
    Ok(places.map(|places| places.data_of(&config)))
}

/// The directory in whose store this program is, if that is the user's: `store/<component>/bin/usernetes` in there.
fn own_data() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let store = program.ancestors().nth(3)?;
    let dir = store.parent().filter(|_| store.ends_with("store"))?;
    let ours = fs_err::metadata(dir).is_ok_and(|m| m.uid() == rustix::process::getuid().as_raw());
    (ours && is_installed(dir)).then(|| dir.to_owned())
}

/// Whether there is an installation in a data directory, or part of one.
fn is_installed(dir: &Path) -> bool {
    dir.join("generations").is_dir()
}

/// Configuration and keys.
pub fn config_dir() -> Result<PathBuf> {
    base(XDG_CONFIG_HOME, ".config")
}

/// Downloads and compressed frames of `builder`. Everything in it can be made again.
pub fn cache_dir() -> Result<PathBuf> {
    base(XDG_CACHE_HOME, ".cache")
}

/// Sockets, and files that are written anew at every start: below [`session_dir`].
pub fn runtime_dir() -> Result<PathBuf> {
    let set = env::var_os(XDG_RUNTIME_DIR).map(PathBuf::from);
    let uid = rustix::process::getuid().as_raw();
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let base = session_dir(set.as_deref(), &usual, uid).ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!(
                "the environment variable {XDG_RUNTIME_DIR} does not name your runtime directory"
            ),
        )
        .expected(format!(
            "a directory that belongs to you, such as `{}`",
            usual.display()
        ))
        .found(set.map_or("not set".to_owned(), |v| format!("`{}`", v.display())))
        .hint(LOG_IN)
    })?;
    Ok(base.join(PROJECT))
}

/// How to get a session, and with it a runtime directory.
pub(crate) const LOG_IN: &str = "log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session";

/// Where the login keeps a user's sockets: what [`XDG_RUNTIME_DIR`] is set to, or the `usual` place, where systemd-logind
/// makes that directory. Either counts only if it is there and belongs to the user: `su` leaves the variable as it was.
pub(crate) fn session_dir(set: Option<&Path>, usual: &Path, uid: u32) -> Option<PathBuf> {
    let ours = |dir: &&Path| {
        dir.is_absolute() && fs_err::metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == uid)
    };
    let found = set.filter(ours).or_else(|| Some(usual).filter(ours));
    found.map(Path::to_owned)
}

/// How to have what is at a path in another place, as an imperative clause. `None` where no variable decides about it.
pub(crate) fn elsewhere(path: &Path) -> Option<&'static str> {
    let below = |dir: Result<PathBuf>| dir.is_ok_and(|dir| path.starts_with(dir));
    // Units lie beside our own configuration, so the whole base counts.
    let config = config_dir().map(|dir| dir.parent().unwrap_or(&dir).to_owned());
    if below(data_dir()) {
        Some("set XDG_DATA_HOME to a directory on another file system")
    } else if below(cache_dir()) {
        Some("set XDG_CACHE_HOME to a directory on another file system")
    } else if below(runtime_dir()) {
        Some(
            "ask the administrator for a larger `RuntimeDirectorySize=` in /etc/systemd/logind.conf",
        )
    } else if below(config) {
        Some(
            "set XDG_CONFIG_HOME to a directory on another file system, for your service manager as well",
        )
    } else if user_kubeconfigs()
        .is_ok_and(|files| files.iter().any(|f| path.parent() == f.parent()))
    {
        Some("set KUBECONFIG to a file on another file system")
    } else {
        None
    }
}

/// The kubeconfigs of the user in the order in which kubectl reads them when nobody says otherwise: the entries of
/// `$KUBECONFIG`, or `$HOME/.kube/config`. They need not exist.
pub fn user_kubeconfigs() -> Result<Vec<PathBuf>> {
    let files = entries(&env::var_os(KUBECONFIG).unwrap_or_default());
    if files.is_empty() {
        Ok(vec![home(KUBECONFIG)?.join(".kube/config")])
    } else {
        Ok(files)
    }
}

/// Empty entries do not count, as for kubectl.
fn entries(list: &OsStr) -> Vec<PathBuf> {
    let files = env::split_paths(list);
    files.filter(|p| !p.as_os_str().is_empty()).collect()
}

/// The user's home with all links followed, for telling what is below it; `None` if it has no name or is not there.
pub(crate) fn real_home() -> Option<PathBuf> {
    absolute(HOME)?.canonicalize().ok()
}

/// `$<variable>/usernetes`, or `$HOME/<fallback>/usernetes`. As the specification says, a relative value counts as unset.
fn base(variable: &str, fallback: &str) -> Result<PathBuf> {
    if let Some(dir) = absolute(variable) {
        return Ok(dir.join(PROJECT));
    }
    Ok(home(variable)?.join(fallback).join(PROJECT))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
}

/// The home directory; `None` if the environment does not say.
pub(crate) fn home_dir() -> Option<PathBuf> {
    absolute(HOME)
}

/// The home directory, needed because `variable` is not set.
fn home(variable: &str) -> Result<PathBuf> {
    absolute(HOME).ok_or_else(|| {
        let found =
            env::var_os(HOME).map_or("not set".to_owned(), |v| format!("`{}`", v.display()));
        Error::new(
            Kind::Host,
            "the environment variable HOME does not name your home directory",
        )
        .expected("an absolute path")
        .found(found)
        .hint(format!(
            "set HOME, or {variable}, for example `export HOME=/home/$(id -un)`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_variable() {
        for (path, variable) in [
            (data_dir().unwrap().join("store/x"), "XDG_DATA_HOME"),
            (cache_dir().unwrap().join("frames/x"), "XDG_CACHE_HOME"),
            (
                config_dir().unwrap().join("master/ca.pem"),
                "XDG_CONFIG_HOME",
            ),
            (
                config_dir()
                    .unwrap()
                    .with_file_name("systemd/user/u7s.target"),
                "XDG_CONFIG_HOME",
            ),
            (user_kubeconfigs().unwrap().remove(0), "KUBECONFIG"),
        ] {
            let how = elsewhere(&path).unwrap();
            assert!(how.contains(variable), "{}: {how}", path.display());
        }
        assert_eq!(elsewhere(Path::new("/nowhere")), None);
    }

    #[test]
    fn empty_names_are_no_kubeconfigs() {
        assert_eq!(
            entries("/a::/b".as_ref()),
            [Path::new("/a"), Path::new("/b")]
        );
        assert_eq!(entries(":".as_ref()), Vec::<PathBuf>::new());
    }

    #[test]
    fn only_a_directory_of_the_users_own_is_the_sessions() {
        let (set, usual) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (set, usual) = (set.path(), usual.path());
        let uid = fs_err::metadata(set).unwrap().uid();
        assert_eq!(session_dir(Some(set), usual, uid).unwrap(), set);
        // As after `su`: the directory is there, and another user's.
        assert_eq!(session_dir(Some(set), usual, uid + 1), None);
        let others = [Path::new("/nowhere"), Path::new("."), &set.join("file")];
        fs_err::write(set.join("file"), "").unwrap();
        for other in others {
            assert_eq!(session_dir(Some(other), usual, uid).unwrap(), usual);
            assert_eq!(session_dir(Some(other), other, uid), None);
        }
        assert_eq!(session_dir(None, usual, uid).unwrap(), usual);
    }
}
