//! Every place on disk and every environment variable the project uses, in one file.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

/// Where the user's home is. Must be set: a static program cannot ask the C library's user database.
pub const HOME: &str = "HOME";
/// Base of persistent data, `$HOME/.local/share` when unset (XDG Base Directory Specification 0.8).
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// Base of configuration, `$HOME/.config` when unset.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Base of caches, `$HOME/.cache` when unset.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// Kubeconfigs that kubectl reads, separated by colons; it writes to the first.
pub const KUBECONFIG: &str = "KUBECONFIG";
/// Base of sockets and other files that vanish with the last session. Made by the login, there is no other place for them.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

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

/// Sockets, and files that are written anew at every start. Where `su` or `sudo` have not set [`XDG_RUNTIME_DIR`], the
/// place where systemd-logind makes that directory counts, if it is there and belongs to the user.
pub fn runtime_dir() -> Result<PathBuf> {
    let set = env::var_os(XDG_RUNTIME_DIR).map(PathBuf::from);
    let uid = rustix::process::getuid().as_raw();
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let ours = |dir: &PathBuf| fs_err::metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == uid);
    let base = set.clone().filter(|dir| dir.is_absolute());
    let base = base.or_else(|| Some(usual).filter(ours)).ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!("the environment variable {XDG_RUNTIME_DIR} does not name your runtime directory"),
        )
        .expected(format!("an absolute path such as `/run/user/{uid}`"))
        .found(set.map_or("not set".to_owned(), |v| format!("`{}`", v.display())))
        .hint(
            "log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` do not start a user session",
        )
    })?;
    Ok(base.join(PROJECT))
}

/// The kubeconfig of the user, which kubectl reads when nobody says otherwise: the first entry of `$KUBECONFIG`, or
/// `$HOME/.kube/config`. It need not exist.
pub fn user_kubeconfig() -> Result<PathBuf> {
    match env::var_os(KUBECONFIG).and_then(|list| first_entry(&list)) {
        Some(file) => Ok(file),
        None => Ok(home(KUBECONFIG)?.join(".kube/config")),
    }
}

/// Empty entries do not count, as for kubectl.
fn first_entry(list: &OsStr) -> Option<PathBuf> {
    env::split_paths(list).find(|p| !p.as_os_str().is_empty())
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
    fn the_first_kubeconfig_is_the_one_that_is_written() {
        let first = |list: &str| first_entry(list.as_ref()).map(|p| p.display().to_string());
        assert_eq!(first("/a:/b").as_deref(), Some("/a"));
        assert_eq!(first(":/b").as_deref(), Some("/b"));
        assert_eq!(first(""), None);
    }
}
