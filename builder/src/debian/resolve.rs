//! Recipes to lockfile entries, by way of the Debian archive.

use std::collections::{BTreeMap, BTreeSet};

use stub::bundle::{Arch, Name, Version};
use stub::digest::Digest;
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;

use super::apt::Archive;
use super::packages::{self, Package};
use super::release::{self, Release};
use super::{Get, lockfile_url, version};
use crate::lockfile::{Artifact, Evidence, LockedComponent};
use crate::recipe::{Fill, Recipe, Take, VersionSource};

/// Resolves the recipes that are `from = "debian"` for one architecture; others are left out of the result. Each suite's
/// `InRelease` and index are fetched once. Nothing is written.
pub fn resolve(
    recipes: &BTreeMap<Name, Recipe>,
    arch: Arch,
    archive: &Archive,
    get: &Get,
    progress: &Progress,
) -> Result<BTreeMap<Name, LockedComponent>> {
    let mut suites: BTreeMap<Name, Vec<(&Name, &Recipe)>> = BTreeMap::new();
    for (name, recipe) in recipes {
        if let VersionSource::Debian { suite } = &recipe.version {
            let suite = match suite {
                Some(suite) => Name::new(suite).about(|| format!("{name}: `suite`"))?,
                None => archive.suite.clone(),
            };
            suites.entry(suite).or_default().push((name, recipe));
        }
    }
    let mut components = BTreeMap::new();
    for (suite, members) in suites {
        let release = release::fetch(archive, &suite, get, progress)?;
        let wanted: BTreeSet<&str> = members
            .iter()
            .flat_map(|(_, recipe)| &recipe.artifacts)
            .filter_map(|artifact| artifact.package.as_deref())
            .collect();
        let packages = packages::fetch(archive, &release, arch.go_name(), &wanted, get, progress)?;
        for (name, recipe) in members {
            let component = lock(name, recipe, arch, &release, &packages).about(|| name)?;
            components.insert(name.clone(), component);
        }
    }
    Ok(components)
}

/// One component, out of the packages of its suite.
pub(super) fn lock(
    name: &Name,
    recipe: &Recipe,
    arch: Arch,
    release: &Release,
    packages: &BTreeMap<String, Package>,
) -> Result<LockedComponent> {
    let mut chosen = Vec::new();
    for artifact in &recipe.artifacts {
        let wanted = artifact.package.as_deref().unwrap_or_default();
        let package = packages.get(wanted).ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!(
                    "the suite {} has no package `{wanted}` for {}",
                    release.suite,
                    arch.go_name()
                ),
            )
            .hint("correct `package`, or name a suite that has it as `suite` in the recipe's `[version]`")
        })?;
        chosen.push((artifact, wanted, package));
    }
    let Some((_, first, newest)) = chosen.first().copied() else {
        return Err(Error::new(Kind::Input, "the recipe has no `[[artifact]]`"));
    };
    let version = Version::new(version::without_epoch(&newest.version))?;
    if let Some((_, other, package)) = chosen
        .iter()
        .find(|(_, _, p)| version::without_epoch(&p.version) != version.as_str())
    {
        return Err(Error::new(
            Kind::Input,
            "its packages have different versions, and a component has one",
        )
        .detail(first, &newest.version)
        .detail(other, &package.version)
        .hint(format!(
            "make `{other}` a component of its own, with its own recipe"
        )));
    }
    let fill = Fill {
        version: &version,
        arch,
    };
    let mut artifacts = Vec::new();
    for (artifact, _, package) in chosen {
        let mut files = Vec::new();
        for file in &artifact.files {
            let from = file.from.as_deref().map(|from| fill.apply(from));
            files.push(Take {
                from: from.transpose()?,
                to: file.to.clone(),
            });
        }
        artifacts.push(Artifact {
            digest: Some(Digest::from(package.sha256)),
            evidence: vec![Evidence::InRelease {
                suite: release.suite.to_string(),
                key: release.key.clone(),
            }],
            files,
            format: artifact.format,
            links: artifact.links.clone(),
            size: Some(package.size),
            urls: vec![lockfile_url(&package.path, &package.version)],
        });
    }
    Ok(LockedComponent {
        artifacts: BTreeMap::from([(arch, artifacts)]),
        family: recipe.family.clone().unwrap_or_else(|| name.clone()),
        homepage: recipe.homepage.clone(),
        license: recipe.license.clone(),
        version,
    })
}
