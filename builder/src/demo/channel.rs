//! What the demo needs besides its bundle, out of the Debian archive as well: a registry, and what its image is made of.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use stub::bundle::{Arch, Name, Version};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use super::Demo;
use super::image::Files;
use super::run::{locked, output};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::pack::members;

/// The component whose files the image is made of, for every architecture.
const BUSYBOX: &str = "busybox";

/// What was taken out of packages.
pub(super) struct Taken {
    /// The registry's program, for this machine.
    pub(super) registry: Vec<u8>,
    /// What the image is made of.
    pub(super) files: BTreeMap<Arch, Files>,
    /// Upstream's version of that.
    pub(super) version: String,
}

impl Demo<'_> {
    /// Gets and opens the packages in `tests/debian/registry`.
    pub(super) fn taken(&mut self) -> Result<Taken> {
        let recipes = self.workspace.root().join("tests/debian/registry");
        let mut commands: Vec<(Arch, _, [Command; 2])> = Vec::new();
        for arch in Arch::ALL {
            // One lockfile each: Debian may have other versions for other architectures.
            // It stays for a demo without a network.
            let lockfile = self.directory.join(format!("registry-{arch}.json"));
            let (mut lock, mut fetch) = (self.builder(&lockfile)?, self.builder(&lockfile)?);
            lock.args(["lock", "--update", "--arch", arch.as_str(), "--recipes"]);
            lock.arg(&recipes);
            if arch != self.arch {
                lock.arg(BUSYBOX);
            }
            fetch.args(["fetch", "--arch", arch.as_str()]);
            commands.push((arch, lockfile, [lock, fetch]));
        }
        let (cache, here, offline) = (Cache::of_user()?, self.arch, self.inputs.offline);
        let mut registry = None;
        let mut files = BTreeMap::new();
        let mut version = String::new();
        self.step("get a registry from Debian", || {
            let mut said = Vec::new();
            for (arch, lockfile, [lock, fetch]) in &mut commands {
                locked(lock, lockfile, offline)?;
                output(fetch)?;
                for (name, component, content) in contents(lockfile, *arch, &cache)? {
                    said.push(format!("{name} {component} ({arch})"));
                    if name.as_str() != BUSYBOX {
                        registry = content.into_values().next();
                        continue;
                    }
                    if *arch == here {
                        version = upstream(&component);
                    }
                    files.insert(*arch, content);
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

/// `1.38.0` of `1.38.0-3+b1`: what can be an image's tag.
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
