//! `builder lock --check`: what upstreams have that the lockfile has not.

use std::collections::BTreeMap;

use serde::Serialize;
use stub::bundle::{Name, Version};
use stub::error::Result;

use super::changes::columns;
use super::update::{Tools, Update};
use crate::debian;
use crate::lockfile::Lockfile;
use crate::recipe::{Recipe, comparable};

/// A component of which there is a newer version than the locked one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newer {
    /// Its name.
    pub name: Name,
    /// The version in the lockfile, if any.
    pub locked: Option<Version>,
    /// The newest one that would be taken.
    pub newest: Version,
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
            let locked = old.components.get(&name).map(|c| c.version.clone());
            let newer = locked.as_ref().is_none_or(|locked| {
                debian::version::compare(component.version.as_str(), locked.as_str()).is_gt()
            });
            if newer {
                let newest = component.version;
                all.push(Newer {
                    name,
                    locked,
                    newest,
                });
            }
        }
        for set in &sets {
            let newest = self.choose(&upstreams, set, old)?.version;
            for (name, _) in &set.members {
                let locked = old.components.get(*name).map(|c| c.version.clone());
                if locked
                    .as_ref()
                    .is_none_or(|l| comparable(l) < comparable(&newest))
                {
                    all.push(Newer {
                        name: (*name).clone(),
                        locked,
                        newest: newest.clone(),
                    });
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

/// What is newer upstream, as a table for people.
#[must_use]
pub fn table(newer: &[Newer]) -> String {
    if newer.is_empty() {
        return "nothing newer upstream\n".to_owned();
    }
    let mut rows = vec![["COMPONENT", "LOCKED", "NEWEST"].map(str::to_owned)];
    for n in newer {
        let locked = n.locked.as_ref();
        let locked = locked.map_or_else(|| "–".to_owned(), Version::to_string);
        rows.push([n.name.to_string(), locked, n.newest.to_string()]);
    }
    columns(&rows) + "\nnext:\n  builder lock --update\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_is_a_table() {
        let newer = |name: &str, locked: Option<&str>, newest: &str| Newer {
            name: Name::new(name).unwrap(),
            locked: locked.map(|v| Version::new(v).unwrap()),
            newest: Version::new(newest).unwrap(),
        };
        let all = [
            newer("etcd", Some("3.6.14"), "3.6.15"),
            newer("kubelet", None, "1.36.4"),
        ];
        insta::assert_snapshot!(table(&all), @r"
        COMPONENT  LOCKED  NEWEST
        etcd       3.6.14  3.6.15
        kubelet    –       1.36.4

        next:
          builder lock --update
        ");
        insta::assert_snapshot!(table(&[]), @"nothing newer upstream");
    }
}
