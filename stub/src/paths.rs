//! Every place on disk and every environment variable the project uses, in one file.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

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
pub fn data_dir() -> Result<PathBuf> {
    base(XDG_DATA_HOME, ".local/share")
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
