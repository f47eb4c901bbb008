//! The sources of crates, as cargo has unpacked them.

use std::path::PathBuf;

use serde::Deserialize;
use stub::error::Result;

use super::{Id, read_toml};

/// The source of a crate.
pub(crate) struct Source {
    /// Its name and version.
    pub(crate) id: Id,
    /// As its manifest says, nothing where that does not.
    pub(crate) license: String,
    /// Where it lies.
    pub(crate) directory: PathBuf,
}

/// All sources in these directories.
pub(super) fn below(directories: &[PathBuf]) -> Result<Vec<Source>> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        license: Option<String>,
    }
    let mut sources = Vec::new();
    for parent in directories {
        for entry in fs_err::read_dir(parent)? {
            let directory = entry?.path();
            let manifest = directory.join("Cargo.toml");
            if !manifest.is_file() {
                continue;
            }
            let Manifest { package } = read_toml(&manifest)?;
            sources.push(Source {
                id: (package.name, package.version),
                license: package.license.unwrap_or_default(),
                directory,
            });
        }
    }
    sources.sort_by(|a, b| (&a.id, &a.directory).cmp(&(&b.id, &b.directory)));
    Ok(sources)
}
