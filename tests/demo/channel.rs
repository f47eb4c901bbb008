//! The demo's other parts from the Debian archive: a registry, and the files for the image in it.

use std::io::Read;
use std::path::Path;

use stub::bundle::{Arch, Name, Version};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use super::Demo;
use super::image::Files;
use super::run::{locked, output};
use builder::cache::Cache;
use builder::lockfile::Lockfile;
use builder::pack::members;

/// The component whose files the image is made of.
const BUSYBOX: &str = "busybox";

/// Files that were taken out of packages.
pub(super) struct Taken {
    /// The registry's program, for this machine.
    pub(super) registry: Vec<u8>,
    /// The files that the image is made of.
    pub(super) files: Files,
    /// Upstream's version of that.
    pub(super) version: String,
}

impl Demo<'_> {
    /// Gets and opens the packages in `tests/debian/registry`.
    pub(super) fn taken(&mut self) -> Result<Taken> {
        let recipes = self.workspace.root().join("tests/debian/registry");
        // It stays for a demo without a network.
        let lockfile = self.directory.join("registry.json");
        let (mut lock, mut fetch) = (self.builder(&lockfile), self.builder(&lockfile));
        lock.args(["lock", "--update", "--recipes"]).arg(&recipes);
        fetch.arg("fetch");
        let (cache, arch, offline) = (Cache::of_user()?, self.arch, self.inputs.offline);
        let mut registry = None;
        let mut files = Files::new();
        let mut version = String::new();
        self.step("get a registry from Debian", || {
            locked(&mut lock, &lockfile, offline)?;
            output(&mut fetch)?;
            let mut said = Vec::new();
            for (name, component, content) in contents(&lockfile, arch, &cache)? {
                said.push(format!("{name} {component}"));
                if name.as_str() == BUSYBOX {
                    version = upstream(&component);
                    files = content;
                } else {
                    registry = content.into_values().next();
                }
            }
            Ok(said.join(", "))
        })?;
        Ok(Taken {
            registry: registry
                .ok_or_else(|| Error::new(Kind::Failed, "there is no registry in the lockfile"))?,
            files,
            version,
        })
    }
}

/// Components of a lockfile with their versions and all that is taken out of their packages.
fn contents(locked: &Path, arch: Arch, cache: &Cache) -> Result<Vec<(Name, Version, Files)>> {
    let lockfile = Lockfile::read(locked)?;
    let mut all = Vec::new();
    for (name, (locked, artifacts)) in lockfile.select(arch, &[])? {
        let silent = Progress::silent();
        let (component, _) = members::component(name, locked, artifacts, arch, cache, &silent)?;
        let mut files = Files::new();
        for file in component.files {
            let mut content = Vec::new();
            cache
                .open_verified(&file.sha256.into())?
                .read_to_end(&mut content)?;
            files.insert(file.path, content);
        }
        all.push((name.clone(), locked.version.clone(), files));
    }
    Ok(all)
}

/// `1.38.0` of `1.38.0-3+b1`, which is a valid tag of an image.
fn upstream(version: &Version) -> String {
    let text = version.as_str();
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_part_of_a_debian_version() {
        for (debian, upstreams) in [
            ("1.38.0-3+b1", "1.38.0"),
            ("1.35.0", "1.35.0"),
            ("1.36.1+dfsg-2", "1.36.1"),
        ] {
            assert_eq!(upstream(&Version::new(debian).unwrap()), upstreams);
        }
    }
}
