//! Cargo's home in the closed environment: the user's downloads, and of the user's settings those about registries.

use std::env;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use stub::error::{Error, Kind, Result};

use super::settings::Settings;

/// The files that are shared with the user's own cargo: downloads, the locks that guard them, and logins. Unpacked
/// sources are not shared, so that ours are unchanged.
const SHARED: [(&str, Shared); 5] = [
    ("registry/cache", Shared::Directory),
    ("registry/index", Shared::Directory),
    (".package-cache", Shared::Lock),
    (".package-cache-mutate", Shared::Lock),
    ("credentials.toml", Shared::IfThere),
];

#[derive(PartialEq)]
enum Shared {
    Directory,
    Lock,
    IfThere,
}

/// A directory for `CARGO_HOME`.
pub(super) struct Home {
    path: PathBuf,
    settings: Settings,
}

impl Home {
    /// Makes or refreshes it, for the checkout at `root` and a user whose cargo has its home at `users`.
    pub(super) fn prepare(path: &Path, users: &Path, root: &Path) -> Result<Self> {
        let settings = Settings::read(root, users)?;
        fs_err::create_dir_all(path.join("registry"))?;
        // Nobody else may read it: there may be a login in it.
        let mut file = tempfile::NamedTempFile::new_in(path)?;
        file.write_all(settings.text()?.as_bytes())?;
        file.persist(path.join("config.toml"))
            .map_err(|e| e.error)?;
        for (name, kind) in SHARED {
            share(&users.join(name), &path.join(name), &kind)?;
        }
        Ok(Self {
            path: path.to_owned(),
            settings,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directories that hold a directory for each crate.
    pub(super) fn crate_directories(&self) -> Result<Vec<PathBuf>> {
        let unpacked = self.path.join("registry/src");
        let mut directories = self.settings.vendored();
        if unpacked.is_dir() {
            for entry in fs_err::read_dir(unpacked)? {
                directories.push(entry?.path());
            }
        }
        directories.retain(|d| d.is_dir());
        Ok(directories)
    }
}

/// Links to something of the user's. Where that cannot be made, such as in a home that is read-only, cargo makes one
/// here and uses that.
fn share(theirs: &Path, ours: &Path, kind: &Shared) -> Result<()> {
    let there = match kind {
        Shared::Directory => fs_err::create_dir_all(theirs).is_ok(),
        Shared::Lock => {
            let mut options = fs_err::OpenOptions::new();
            options.append(true).create(true).open(theirs).is_ok()
        }
        Shared::IfThere => theirs.exists(),
    };
    let linked = fs_err::read_link(ours).ok();
    if there && linked.as_deref() == Some(theirs) {
        return Ok(());
    }
    if linked.is_some() {
        fs_err::remove_file(ours)?;
    }
    if !there {
        return Ok(());
    }
    match symlink(theirs, ours) {
        // Another build in this checkout was faster, or cargo made its own when there was nothing to share.
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e.into()),
        _ => Ok(()),
    }
}

/// The home of the user's own cargo.
pub fn of_user() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME").filter(|home| !home.is_empty());
    let home = match (set, env::var_os("HOME")) {
        (Some(set), _) => PathBuf::from(set),
        (None, Some(home)) => Path::new(&home).join(".cargo"),
        (None, None) => {
            return Err(Error::new(Kind::Host, "neither CARGO_HOME nor HOME is set")
                .hint("set HOME to your home directory"));
        }
    };
    Ok(env::current_dir()?.join(home))
}
