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
