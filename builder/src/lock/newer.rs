//! `builder lock --check`: versions that upstreams have and the lockfile lacks.

use std::collections::BTreeMap;

use serde::Serialize;
use stub::bundle::{Name, Version};
use stub::error::Result;

use super::evidence::pairs;
use super::update::{Tools, Update};
use crate::debian;
use crate::lockfile::{LockedComponent, Lockfile};
use crate::recipe::{Recipe, comparable};

/// A component of which there is a newer version than the locked one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newer {
    /// Its name.
    pub name: Name,
    /// The version in the lockfile, if any; of a Debian package with its epoch.
    pub locked: Option<String>,
    /// The newest one that would be taken, likewise.
    pub newest: String,
}

impl Update<'_> {
    /// The components of which upstreams have newer versions than the lockfile, of those that an update would take.
    pub fn newer(
        &self,
        recipes: &BTreeMap<Name, Recipe>,
        old: &Lockfile,
        tools: Tools,
    ) -> Result<Vec<Newer>> {
        let (packages, sets) = self.wanted(recipes, &mut Vec::new())?;
        let upstreams = self.upstreams(tools);
        let mut all = Vec::new();
        for (name, component) in self.packages(&packages, tools)? {
            let old = old.components.get(&name);
            if old.is_none_or(|old| is_newer(old, &component)) {
                all.push(Newer {
                    name,
                    locked: old.map(LockedComponent::full_version),
                    newest: component.full_version(),
                });
            }
        }
        for set in &sets {
            let newest = self.choose(&upstreams, set, old)?.version;
            for (name, _) in &set.members {
                let locked = old.components.get(*name).map(|c| &c.version);
                if locked.is_none_or(|l| comparable(l) < comparable(&newest)) {
                    all.push(Newer {
                        name: (*name).clone(),
                        locked: locked.map(Version::to_string),
                        newest: newest.to_string(),
                    });
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

/// Whether a component out of an archive is newer than the locked one.
fn is_newer(old: &LockedComponent, new: &LockedComponent) -> bool {
    // An earlier release left the epoch out: versions that differ in nothing else are the same package.
    let mut pairs = pairs(&old.artifacts, &new.artifacts);
    let same = old.version == new.version && pairs.all(|(_, old, new)| old.digest == new.digest);
    !same && debian::version::compare(&new.full_version(), &old.full_version()).is_gt()
}

/// The newer versions of upstreams, as a table for people.
#[must_use]
pub fn table(newer: &[Newer]) -> String {
    if newer.is_empty() {
        return "nothing newer upstream\n".to_owned();
    }
    let mut rows = vec![["component", "locked", "newest"].map(str::to_owned)];
    for n in newer {
        let locked = n.locked.clone().unwrap_or_else(|| "–".to_owned());
        rows.push([n.name.to_string(), locked, n.newest.clone()]);
    }
    stub::table::table(&rows, &[]) + "\nnext:\n  builder lock --update\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component out of one package, whose content is as its version.
    fn package(version: &str, file: &str) -> LockedComponent {
        let digest = stub::digest::Sha256::of(version.as_bytes());
        let text = serde_json::json!({
            "artifacts": {"x86_64": [{
                "digest": format!("sha256:{digest}"), "files": [], "format": "deb",
                "urls": [format!("debian:pool/main/t/tool/{file}")],
            }]},
            "family": "tool", "homepage": "https://example.org", "license": "MIT", "version": version,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_new_epoch_is_newer_than_any_version_before_it() {
        let before = package("3.0-1", "tool_3.0-1_amd64.deb");
        let after = package("1.4-1", "tool_1%3a1.4-1_amd64.deb");
        assert_eq!(after.full_version(), "1:1.4-1");
        assert!(is_newer(&before, &after) && !is_newer(&after, &before));
        // As earlier releases locked it.
        let without = package("1.4-1", "tool_1.4-1_amd64.deb");
        assert_eq!(without.full_version(), "1.4-1");
        assert!(!is_newer(&without, &after) && !is_newer(&after, &without));
    }

    #[test]
    fn what_is_newer_is_a_table() {
        let newer = |name: &str, locked: Option<&str>, newest: &str| Newer {
            name: Name::new(name).unwrap(),
            locked: locked.map(str::to_owned),
            newest: newest.to_owned(),
        };
        let all = [
            newer("etcd", Some("3.6.14"), "3.6.15"),
            newer("kubelet", None, "1.36.4"),
        ];
        insta::assert_snapshot!(table(&all), @r"
        component  locked  newest
        etcd       3.6.14  3.6.15
        kubelet    –       1.36.4

        next:
          builder lock --update
        ");
        insta::assert_snapshot!(table(&[]), @"nothing newer upstream");
    }
}
