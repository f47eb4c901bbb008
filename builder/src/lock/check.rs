//! `builder lock --check`: do the recipes and the lockfile agree, and is everything pinned?
//!
//! It looks at nothing but the two, and needs no network.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use stub::bundle::{Arch, Name};
use stub::error::{Error, Kind, Result};
use stub::table::table;

use super::resolve::locked;
use crate::lockfile::{Artifact, LockedComponent, Lockfile};
use crate::recipe::{Recipe, VersionSource};
use crate::wording::counted;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// How many components the lockfile has.
    pub components: usize,
    /// Problems that must be solved before a release is built, sorted by component.
    pub problems: Vec<Finding>,
    /// Notes, sorted by component.
    pub notes: Vec<Finding>,
}

/// A problem or a note.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The component it is about.
    pub component: Name,
    /// Its kind.
    pub what: What,
    /// The place, or both sides of a difference.
    pub detail: String,
    /// The next step: a command, or a file to change.
    pub next: String,
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A recipe has no entry in the lockfile, or none for an architecture.
    NotLocked,
    /// An entry of the lockfile has no recipe.
    NoRecipe,
    /// A download has no digest.
    Unpinned,
    /// An entry differs from its recipe.
    Differs,
    /// The locked version is not one the recipe takes.
    NotAllowed,
    /// Components that are released together are locked at different versions.
    Uneven,
    /// A download has a digest, and nothing says why it should be believed.
    NoEvidence,
    /// Upstream has nothing for an architecture. Only a note: a bundle for it is made without the component.
    Absent,
    /// The length of a download is not known. Only a note: fetching it needs the digest alone.
    NoSize,
}

impl What {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotLocked => "not locked",
            Self::NoRecipe => "no recipe",
            Self::Unpinned => "unpinned",
            Self::Differs => "differs",
            Self::NotAllowed => "not allowed",
            Self::Uneven => "uneven",
            Self::NoEvidence => "no evidence",
            Self::Absent => "absent",
            Self::NoSize => "no size",
        }
    }
}

/// Compares recipes and lockfile.
///
/// # Errors
/// Only if a recipe cannot be filled in. Problems of the lockfile are in the report: see [`Comparison::verdict`].
pub fn check(recipes: &BTreeMap<Name, Recipe>, lockfile: &Lockfile) -> Result<Comparison> {
    let mut findings = Findings(Vec::new());
    for name in lockfile.components.keys() {
        if !recipes.contains_key(name) {
            let next =
                format!("add `{name}.toml` to the recipes, or take `{name}` out of lockfile.json");
            findings.push(name, What::NoRecipe, format!("{name}.toml"), next);
        }
    }
    for (name, recipe) in recipes {
        match lockfile.components.get(name) {
            Some(component) => findings.compare(name, recipe, component)?,
            None => findings.update(name, What::NotLocked, recipe.summary.clone()),
        }
    }
    findings.uneven(recipes, lockfile);
    let Findings(mut all) = findings;
    all.sort();
    let only_note = |f: &Finding| matches!(f.what, What::Absent | What::NoSize);
    let (notes, problems) = all.into_iter().partition(only_note);
    Ok(Comparison {
        components: lockfile.components.len(),
        problems,
        notes,
    })
}

struct Findings(Vec<Finding>);

impl Findings {
    fn push(&mut self, component: &Name, what: What, detail: String, next: String) {
        self.0.push(Finding {
            component: component.clone(),
            what,
            detail,
            next,
        });
    }

    /// Adds a problem that resolving the recipe again solves.
    fn update(&mut self, component: &Name, what: What, detail: String) {
        let next = format!("builder lock --update {component}");
        self.push(component, what, detail, next);
    }

    fn compare(&mut self, name: &Name, recipe: &Recipe, found: &LockedComponent) -> Result<()> {
        if !recipe.version.allows(&found.version) {
            let allow = recipe
                .version
                .allow()
                .map_or(String::new(), ToString::to_string);
            let detail = format!("{} is locked, the recipe allows {allow}", found.version);
            self.update(name, What::NotAllowed, detail);
        }
        // Of a machine's archive, only the packages of that machine are wanted.
        let arches: Vec<Arch> = match recipe.version {
            VersionSource::Debian { .. } => found.artifacts.keys().copied().collect(),
            _ => Arch::ALL.to_vec(),
        };
        let said = locked(name, recipe, &found.version, &arches)?;
        self.differs(name, "family", &found.family, &said.family);
        self.differs(name, "homepage", &found.homepage, &said.homepage);
        self.differs(name, "license", &found.license, &said.license);
        for (arch, said) in &said.artifacts {
            match found.artifacts.get(arch) {
                None => self.update(name, What::NotLocked, arch.to_string()),
                Some(none) if none.is_empty() => {
                    self.update(name, What::Absent, arch.to_string());
                }
                Some(found) if found.len() != said.len() => {
                    let (locked, says) = (found.len(), said.len());
                    let detail =
                        format!("{arch}: {locked} downloads are locked, the recipe has {says}");
                    self.update(name, What::Differs, detail);
                }
                Some(found) => {
                    for (found, said) in found.iter().zip(said) {
                        self.artifact(name, *arch, found, said);
                    }
                }
            }
        }
        Ok(())
    }

    fn artifact(&mut self, name: &Name, arch: Arch, found: &Artifact, said: &Artifact) {
        let field = |field: &str| format!("{arch} {field}");
        self.differs(name, &field("files"), &found.files, &said.files);
        self.differs(name, &field("format"), &found.format, &said.format);
        self.differs(name, &field("links"), &found.links, &said.links);
        // Of a package, no recipe says where it is.
        if !said.urls.is_empty() {
            self.differs(name, &field("urls"), &found.urls, &said.urls);
        }
        let place = format!("{arch} {}", found.url());
        if found.digest.is_none() {
            self.update(name, What::Unpinned, place.clone());
        } else if found.evidence.is_empty() {
            self.update(name, What::NoEvidence, place.clone());
        }
        if found.size.is_none() {
            self.update(name, What::NoSize, place);
        }
    }

    fn differs<T: PartialEq + Serialize>(&mut self, name: &Name, field: &str, found: &T, said: &T) {
        if found != said {
            let detail = format!(
                "{field}: {} is locked, the recipe says {}",
                plain(found),
                plain(said)
            );
            self.update(name, What::Differs, detail);
        }
    }

    /// Components whose newest version is announced in the same place are released together.
    fn uneven(&mut self, recipes: &BTreeMap<Name, Recipe>, lockfile: &Lockfile) {
        let locked: Vec<_> = recipes
            .iter()
            .filter(|(_, r)| r.version.allow().is_some())
            .filter_map(|(name, r)| {
                Some((name, &r.version, &lockfile.components.get(name)?.version))
            })
            .collect();
        for (name, source, version) in &locked {
            let first = locked.iter().find(|(_, s, _)| s == source);
            if let Some((other, _, expected)) = first.filter(|(_, _, v)| v != version) {
                let detail = format!("{version} is locked, but {other} is at {expected}");
                self.update(name, What::Uneven, detail);
            }
        }
    }
}

/// A value as it stands in the lockfile, in one line.
fn plain(value: &impl Serialize) -> String {
    serde_json::to_value(value).map_or_else(|e| e.to_string(), |v| v.to_string())
}

impl Comparison {
    /// The error that ends `builder lock --check`, if there is a problem.
    pub fn verdict(&self) -> Result<()> {
        let count = self.problems.len();
        if count == 0 {
            return Ok(());
        }
        let problems = counted(count, "problem");
        Err(Error::new(
            Kind::Input,
            format!("the lockfile and the recipes have {problems}"),
        )
        .hint("follow the steps listed under `next`"))
    }

    /// The next steps, each once.
    fn next(&self) -> Vec<&str> {
        let mut next: Vec<&str> = Vec::new();
        for problem in &self.problems {
            if !next.contains(&problem.next.as_str()) {
                next.push(&problem.next);
            }
        }
        next
    }
}

/// A table for people, with the next steps below it.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            let components = counted(self.components, "component");
            writeln!(f, "{components} locked, as the recipes say")?;
        } else {
            let mut rows = vec![["component", "problem", "detail"].map(str::to_owned)];
            rows.extend(self.problems.iter().map(|problem| {
                let what = problem.what.as_str().to_owned();
                [problem.component.to_string(), what, problem.detail.clone()]
            }));
            writeln!(f, "{}\nnext:", table(&rows, &[]))?;
            for step in self.next() {
                writeln!(f, "  {step}")?;
            }
        }
        for note in self.notes.iter().filter(|n| n.what == What::Absent) {
            let Finding {
                component, detail, ..
            } = note;
            writeln!(f, "\nnote: {component} does not exist for {detail}")?;
        }
        let sizes = self.notes.iter().filter(|n| n.what == What::NoSize);
        let mut names: Vec<&str> = sizes.map(|n| n.component.as_str()).collect();
        names.dedup();
        if !names.is_empty() {
            let names = names.join(", ");
            writeln!(f, "\nnote: the size is unknown for {names}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
