//! `builder lock --update`: finds the newest versions that the recipes allow, and makes the new lockfile.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use stub::bundle::{Arch, Name, Version};
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;

use super::changes::replaced;
use super::choose::{Chosen, Rules};
use super::evidence::{pairs, require_no_weaker};
use super::pin::Pinner;
use super::skew;
use crate::cache::Cache;
use crate::debian;
use crate::http::Client;
use crate::lockfile::{LockedComponent, Lockfile};
use crate::recipe::{Fill, Recipe, VersionSource, comparable};
use crate::source::{Endpoints, Upstreams};

/// The settings of an update.
#[derive(Debug)]
pub struct Update<'a> {
    /// Only these components, and those released together with them; all recipes when empty. The rest of the lockfile
    /// stays as it is.
    pub names: &'a [Name],
    /// The architecture to resolve packages for. Everything else is resolved for all.
    pub arch: Arch,
    /// The Debian archive, where it is not the one apt uses.
    pub debian_archive: Option<&'a str>,
    /// The suite for recipes that name none, where it is not the machine's own.
    pub debian_suite: Option<&'a Name>,
    /// The recipes' directory, which keyrings are looked up in.
    pub directory: &'a Path,
    /// Where upstreams are.
    pub endpoints: &'a Endpoints,
    /// The time by which versions are old enough.
    pub now: SystemTime,
    /// How long a version must have been out before it is taken, where upstream says when it was published.
    pub min_age: Duration,
    /// Whether a newer version may be replaced by an older one.
    pub allow_downgrade: bool,
    /// Whether a pin may be replaced by one with weaker evidence.
    pub allow_weaker_evidence: bool,
}

/// The result of an update.
#[derive(Debug)]
pub struct Updated {
    /// The lockfile as it should be.
    pub lockfile: Lockfile,
    /// Notes for the user, about versions that were held back and downloads that are unpinned.
    pub notes: Vec<String>,
}

/// Recipes whose newest version is announced in the same place: they are released together.
pub(super) struct Set<'r> {
    pub(super) source: &'r VersionSource,
    pub(super) members: Vec<(&'r Name, &'r Recipe)>,
}

impl Set<'_> {
    /// The addresses of the files of a version, for all architectures.
    fn files(&self, version: &Version) -> Vec<String> {
        let artifacts = self.members.iter().flat_map(|(_, r)| &r.artifacts);
        let urls = artifacts.flat_map(|artifact| &artifact.urls);
        // An address that cannot be filled in is an error when it is locked.
        urls.flat_map(|url| Arch::ALL.map(|arch| Fill { version, arch }.apply(url).ok()))
            .flatten()
            .collect()
    }
}

/// The tools of one run.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The HTTP client. Requests are sent one at a time.
    pub client: &'a Client,
    /// Keeps answers of GitHub's API, the documents of images, and the files that were downloaded to check their signature.
    pub cache: &'a Cache,
    /// Where waits and progress are shown.
    pub progress: &'a Progress,
}

impl Update<'_> {
    /// The lockfile as it should be. The old one is not changed, and nothing is written but the cache.
    pub fn run(
        &self,
        recipes: &BTreeMap<Name, Recipe>,
        old: &Lockfile,
        tools: Tools,
    ) -> Result<Updated> {
        let mut notes = Vec::new();
        let (packages, sets) = self.wanted(recipes, &mut notes)?;
        let upstreams = self.upstreams(tools);
        let pinner = Pinner {
            upstreams: &upstreams,
            recipes: self.directory,
        };
        let is_another = |name: &Name, now: &LockedComponent| {
            let before = old.components.get(name);
            before.is_none_or(|before| before.version != now.version)
        };
        let mut new = old.clone();
        new.components.retain(|name, _| recipes.contains_key(name));
        let mut undated: Vec<Name> = Vec::new();
        for (name, component) in self.packages(&packages, tools)? {
            if let Some(old) = old.components.get(&name) {
                self.require_no_older(&name, old, &component)?;
                self.compare(&name, old, &component)?;
            }
            if is_another(&name, &component) {
                undated.push(name.clone());
            }
            merge(&mut new, name, component);
        }
        for set in &sets {
            let chosen = self.choose(&upstreams, set, old)?;
            notes.extend(chosen.held_back.iter().map(|why| {
                format!(
                    "{}: {why}: not taken",
                    names(set.members.iter().map(|m| m.0))
                )
            }));
            for (name, recipe) in &set.members {
                // A user who names the component has seen which architectures are lost, and accepts it.
                let before = old.components.get(name);
                let before = before.filter(|_| !self.names.contains(name));
                let needed: Vec<Arch> = before
                    .into_iter()
                    .flat_map(LockedComponent::arches)
                    .collect();
                let (component, told) = pinner.pin(name, recipe, &chosen.version, &needed)?;
                notes.extend(told);
                if let Some(old) = old.components.get(name) {
                    self.compare(name, old, &component)?;
                }
                if !chosen.dated && is_another(name, &component) {
                    undated.push((*name).clone());
                }
                tools
                    .progress
                    .line(format!("{name} {}: resolved", chosen.version));
                new.components.insert((*name).clone(), component);
            }
        }
        if !undated.is_empty() && !self.min_age.is_zero() {
            notes.push(format!("release date unknown: {}", names(undated.iter())));
        }
        skew::check(&new, recipes)?;
        new.check()?;
        Ok(Updated {
            lockfile: new,
            notes,
        })
    }

    pub(super) fn upstreams<'u>(&'u self, tools: Tools<'u>) -> Upstreams<'u> {
        let Tools {
            client,
            cache,
            progress,
        } = tools;
        Upstreams::new(client, self.endpoints, cache, progress, self.now)
    }

    /// The selected recipes: those of packages, and the others in sets.
    pub(super) fn wanted<'r>(
        &self,
        recipes: &'r BTreeMap<Name, Recipe>,
        notes: &mut Vec<String>,
    ) -> Result<(BTreeMap<Name, Recipe>, Vec<Set<'r>>)> {
        if let Some(unknown) = self.names.iter().find(|n| !recipes.contains_key(n)) {
            return Err(
                Error::new(Kind::Usage, format!("there is no recipe `{unknown}`"))
                    .expected(names(recipes.keys())),
            );
        }
        let meant = |name: &Name| self.names.is_empty() || self.names.contains(name);
        let mut packages = BTreeMap::new();
        let mut sets: Vec<Set> = Vec::new();
        for (name, recipe) in recipes {
            if let VersionSource::Debian { .. } = recipe.version {
                if meant(name) {
                    packages.insert(name.clone(), recipe.clone());
                }
                continue;
            }
            match sets.iter_mut().find(|s| *s.source == recipe.version) {
                Some(set) => set.members.push((name, recipe)),
                None => sets.push(Set {
                    source: &recipe.version,
                    members: vec![(name, recipe)],
                }),
            }
        }
        sets.retain(|set| set.members.iter().any(|(name, _)| meant(name)));
        for set in &sets {
            let others = set.members.iter().map(|m| m.0).filter(|n| !meant(n));
            let others = names(others);
            if !others.is_empty() {
                let meant = set.members.iter().map(|m| m.0).filter(|n| meant(n));
                notes.push(format!(
                    "{}: released together with {others}, and updated together",
                    names(meant)
                ));
            }
        }
        Ok((packages, sets))
    }

    pub(super) fn packages(
        &self,
        recipes: &BTreeMap<Name, Recipe>,
        tools: Tools,
    ) -> Result<BTreeMap<Name, LockedComponent>> {
        if recipes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut archive = debian::apt::Archive::of_this_machine(self.debian_archive)?;
        if let Some(suite) = self.debian_suite {
            archive.suite = suite.clone();
        }
        let get = |url: &str, cap: u64| tools.client.find_to_check(url, cap);
        debian::resolve::resolve(recipes, self.arch, &archive, &get, tools.progress)
    }

    pub(super) fn choose(
        &self,
        upstreams: &Upstreams,
        set: &Set,
        old: &Lockfile,
    ) -> Result<Chosen> {
        let rules = Rules {
            now: upstreams.now(),
            min_age: self.min_age,
            allow_downgrade: self.allow_downgrade,
        };
        let locked = set.members.iter().filter_map(|m| old.components.get(m.0));
        let locked = locked.map(|c| &c.version).max_by_key(|v| comparable(v));
        let choose = || {
            let mut announced = upstreams.announced(set.source, &|v| set.files(v), &|a| {
                rules.enough(set.source, a, locked)
            })?;
            if let (VersionSource::Text { .. }, [only]) = (set.source, &mut announced[..]) {
                only.published = published(upstreams, set, &only.version)?;
            }
            rules.choose(set.source, &announced, locked)
        };
        choose().about(|| names(set.members.iter().map(|m| m.0)))
    }

    fn require_no_older(
        &self,
        name: &Name,
        old: &LockedComponent,
        new: &LockedComponent,
    ) -> Result<()> {
        let (locked, newest) = (old.full_version(), new.full_version());
        let order = debian::version::compare(&newest, &locked);
        if self.allow_downgrade || order != Ordering::Less {
            return Ok(());
        }
        Err(Error::new(
            Kind::Integrity,
            format!("{name}: the archive's version is older than the locked one"),
        )
        .detail("locked", locked)
        .detail("newest", newest)
        .hint("check whether the mirror is outdated or the suite has changed; to go back to the older version, add `--allow-downgrade`"))
    }

    /// Whether a new entry may stand in the place of an old one.
    fn compare(&self, name: &Name, old: &LockedComponent, new: &LockedComponent) -> Result<()> {
        if old.version == new.version && !self.names.contains(name) {
            require_same_bytes(name, old, new)?;
        }
        if self.allow_weaker_evidence {
            return Ok(());
        }
        require_no_weaker(name, old, new)
    }
}

/// When a version without a release date was published: the date of the first of its files.
fn published(upstreams: &Upstreams, set: &Set, version: &Version) -> Result<Option<SystemTime>> {
    let first = set.members.first().and_then(|(_, r)| r.artifacts.first());
    let Some(url) = first.and_then(|a| a.urls.first()) else {
        return Ok(None);
    };
    let arch = Arch::X86_64;
    upstreams.modified(&Fill { version, arch }.apply(url)?)
}

/// A version must not be published twice with different bytes. A user who names the component accepts it.
fn require_same_bytes(name: &Name, old: &LockedComponent, new: &LockedComponent) -> Result<()> {
    for (arch, old, new) in pairs(&old.artifacts, &new.artifacts) {
        if let Some((locked, published)) = replaced(old, new) {
            return Err(Error::new(
                Kind::Integrity,
                format!("{name}: upstream now publishes other bytes under a locked version"),
            )
            .detail("for", arch)
            .detail("url", new.url())
            .detail("locked", locked)
            .detail("published", published)
            .hint(format!("if upstream has done so on purpose, run `builder lock --update {name}` and review the diff")));
        }
    }
    Ok(())
}

/// Puts a component that was resolved for some architectures into the lockfile. Other
/// architectures stay if they are locked at the same version.
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
}
