//! `builder lock --update`: the newest versions the recipes allow, and what the lockfile becomes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stub::bundle::{Arch, Name, Version};
use stub::error::{Error, Kind, Result};
use stub::progress::{Progress, bytes};

use crate::debian;
use crate::http::Client;
use crate::lockfile::{LockedComponent, Lockfile};
use crate::recipe::{Recipe, VersionSource};

/// What to resolve, and how.
#[derive(Debug)]
pub struct Update<'a> {
    /// Only these components; all recipes when empty. The rest of the lockfile stays as it is.
    pub names: &'a [Name],
    /// The architecture to resolve packages for.
    pub arch: Arch,
    /// The Debian archive, where it is not the one apt uses.
    pub debian_archive: Option<&'a str>,
    /// The suite for recipes that name none, where it is not the machine's own.
    pub debian_suite: Option<&'a Name>,
}

impl Update<'_> {
    /// The lockfile as it should be. The old one is not changed.
    pub fn run(
        &self,
        recipes: &BTreeMap<Name, Recipe>,
        old: &Lockfile,
        client: &Client,
        progress: &Progress,
    ) -> Result<Lockfile> {
        if let Some(unknown) = self.names.iter().find(|n| !recipes.contains_key(n)) {
            return Err(
                Error::new(Kind::Usage, format!("there is no recipe `{unknown}`"))
                    .expected(names(recipes.keys())),
            );
        }
        let wanted = |name: &Name| self.names.is_empty() || self.names.contains(name);
        let (packages, others): (BTreeMap<_, _>, BTreeMap<_, _>) = recipes
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, recipe)| (name.clone(), recipe.clone()))
            .partition(|(_, r)| matches!(r.version, VersionSource::Debian { .. }));
        if !others.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                "this builder finds new versions in Debian archives only",
            )
            .detail("not from Debian", names(others.keys()))
            .hint("write version, URLs and digests of these into the lockfile by hand, and check it with `builder lock --check`"));
        }
        let mut new = old.clone();
        new.components.retain(|name, _| recipes.contains_key(name));
        if !packages.is_empty() {
            let mut archive = debian::apt::Archive::of_this_machine(self.debian_archive)?;
            if let Some(suite) = self.debian_suite {
                archive.suite = suite.clone();
            }
            let get = |url: &str, cap: u64| client.get(url, cap);
            let locked = debian::resolve::resolve(&packages, self.arch, &archive, &get, progress)?;
            for (name, component) in locked {
                merge(&mut new, name, component);
            }
        }
        new.check()?;
        Ok(new)
    }
}

/// Puts a component that was resolved for some architectures into the lockfile. Others that are locked at the same
/// version stay; of another version they would not go together.
fn merge(lockfile: &mut Lockfile, name: Name, mut component: LockedComponent) {
    if let Some(old) = lockfile.components.remove(&name)
        && old.version == component.version
    {
        for (arch, artifacts) in old.artifacts {
            component.artifacts.entry(arch).or_insert(artifacts);
        }
    }
    lockfile.components.insert(name, component);
}

/// What became of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: Name,
    /// Its version before; absent when it is new.
    pub old: Option<Version>,
    /// Its version now; absent when it is gone.
    pub new: Option<Version>,
    /// Bytes to download now, where all are known.
    pub size: Option<u64>,
    /// Whether anything at all is different.
    pub changed: bool,
}

/// Every component of both lockfiles, in order.
#[must_use]
pub fn changes(old: &Lockfile, new: &Lockfile) -> Vec<Change> {
    let all: BTreeSet<&Name> = old.components.keys().chain(new.components.keys()).collect();
    let change = |name: &Name| {
        let (old, new) = (old.components.get(name), new.components.get(name));
        Change {
            name: name.clone(),
            old: old.map(|c| c.version.clone()),
            new: new.map(|c| c.version.clone()),
            size: new.and_then(download_size),
            changed: old != new,
        }
    };
    all.into_iter().map(change).collect()
}

/// The bytes of all downloads of a component, if each one's size is known.
fn download_size(component: &LockedComponent) -> Option<u64> {
    let artifacts = component.artifacts.values().flatten();
    artifacts.map(|a| a.size).sum()
}

/// The changes as a table for people. What stayed as it was is only counted.
#[must_use]
pub fn table(changes: &[Change]) -> String {
    let version = |v: &Option<Version>| v.as_ref().map_or("–".to_owned(), Version::to_string);
    let mut text = String::new();
    for c in changes.iter().filter(|c| c.changed) {
        let size = c.size.map_or(String::new(), bytes);
        text += &format!(
            "{:28} {:>20} → {:20} {size:>9}\n",
            c.name,
            version(&c.old),
            version(&c.new)
        );
    }
    let same = changes.iter().filter(|c| !c.changed).count();
    text + &format!("{} changed, {same} as before\n", changes.len() - same)
}

fn names<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    names.map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(version: &str, arch: Arch) -> LockedComponent {
        LockedComponent {
            artifacts: [(arch, Vec::new())].into(),
            family: Name::new("etcd").unwrap(),
            homepage: String::new(),
            license: "Apache-2.0".to_owned(),
            version: Version::new(version).unwrap(),
        }
    }

    #[test]
    fn architectures_of_one_version_are_kept_together_and_of_another_are_not() {
        let etcd = Name::new("etcd").unwrap();
        let mut lockfile = Lockfile::new();
        merge(&mut lockfile, etcd.clone(), component("1", Arch::X86_64));
        merge(&mut lockfile, etcd.clone(), component("1", Arch::Aarch64));
        assert_eq!(lockfile.components[&etcd].artifacts.len(), 2);
        merge(&mut lockfile, etcd.clone(), component("2", Arch::Aarch64));
        assert_eq!(lockfile.components[&etcd].artifacts.len(), 1);
    }

    #[test]
    fn what_changed_is_a_table() {
        let etcd = Name::new("etcd").unwrap();
        let runc = Name::new("runc").unwrap();
        let (mut old, mut new) = (Lockfile::new(), Lockfile::new());
        merge(&mut old, etcd.clone(), component("3.5.0", Arch::X86_64));
        merge(&mut old, runc.clone(), component("1.4", Arch::X86_64));
        merge(&mut new, etcd, component("3.6.14", Arch::X86_64));
        merge(&mut new, runc, component("1.4", Arch::X86_64));
        merge(
            &mut new,
            Name::new("crun").unwrap(),
            component("1.29", Arch::X86_64),
        );
        insta::assert_snapshot!(table(&changes(&old, &new)), @r"
        crun                                            – → 1.29                       0 B
        etcd                                        3.5.0 → 3.6.14                     0 B
        2 changed, 1 as before
        ");
    }
}
