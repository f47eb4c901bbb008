//! The source tree that a bundle is built from, with `stub/`, `recipes/` and `lockfile.json`.

use std::env;
use std::path::{Path, PathBuf};

use stub::error::{Error, Kind, Result};

/// A checkout of this project.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The given directory, or the nearest one above the current directory that is a checkout.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        let start = match given {
            Some(directory) => fs_err::canonicalize(directory)?,
            None => env::current_dir()?,
        };
        let mut candidates = start
            .ancestors()
            .take(if given.is_some() { 1 } else { usize::MAX });
        let root = candidates
            .find(|d| d.join("stub/Cargo.toml").is_file() && d.join("Cargo.lock").is_file());
        root.map(|r| Self { root: r.to_owned() }).ok_or_else(|| {
            Error::new(
                Kind::Usage,
                format!(
                    "{}: this is not in a checkout of Usernetes",
                    start.display()
                ),
            )
            .expected("a directory with `Cargo.lock` and `stub/Cargo.toml`")
            .hint("change to the checkout's directory, or name it with `--workspace`")
        })
    }

    /// Its top directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The recipes of the release.
    #[must_use]
    pub fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    /// The pins of the release.
    #[must_use]
    pub fn lockfile(&self) -> PathBuf {
        self.root.join("lockfile.json")
    }

    /// Where cargo puts compiled files: `$CARGO_TARGET_DIR`, or `target/` in the checkout.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        let set = env::var_os("CARGO_TARGET_DIR").filter(|d| !d.is_empty());
        set.map_or_else(|| self.root.join("target"), |d| self.root.join(d))
    }
}
