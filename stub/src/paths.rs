//! Every place on disk and every environment variable the project uses, in one file.

use std::env;
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

/// Base of what lives as long as the login: sockets and state. Has no fallback.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// The project's directory below each of the XDG bases.
const PROJECT: &str = "usernetes";

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

/// Sockets and state of the running cluster. Fails outside a login session, which has nothing of that kind.
pub fn runtime_dir() -> Result<PathBuf> {
    let base = env::var_os(XDG_RUNTIME_DIR).map(PathBuf::from);
    let base = base.filter(|p| p.is_absolute()).ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!("the environment variable {XDG_RUNTIME_DIR} does not name a directory"),
        )
        .hint("log in on a console or over ssh: `su` and `sudo` start no session")
    })?;
    Ok(base.join(PROJECT))
}

/// `$<variable>/usernetes`, or `$HOME/<fallback>/usernetes`. As the specification says, a relative value counts as unset.
fn base(variable: &str, fallback: &str) -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    if let Some(dir) = absolute(variable) {
        return Ok(dir.join(PROJECT));
    }
    let home = absolute(HOME).ok_or_else(|| {
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
    })?;
    Ok(home.join(fallback).join(PROJECT))
}
