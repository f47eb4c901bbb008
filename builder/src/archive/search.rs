//! Looks for the wanted files among the members of an archive.

use std::collections::{BTreeMap, BTreeSet};

use stub::bundle::frame::MAX_SIZE;
use stub::error::{Error, Kind, Result};

use super::Each;
use super::tar::{Member, Sort, quoted};

/// How many names a message suggests.
const SUGGESTIONS: usize = 3;

/// The wanted files, the found ones, and suggestions for the others.
pub(super) struct Search<'w> {
    wanted: &'w BTreeSet<String>,
    found: BTreeSet<&'w str>,
    /// Files with the base name of a wanted one, by that base name.
    similar: BTreeMap<&'w str, Vec<String>>,
    /// The first files of the archive, for the message.
    first: Vec<String>,
}

impl<'w> Search<'w> {
    pub(super) fn new(wanted: &'w BTreeSet<String>) -> Self {
        let similar = wanted.iter().map(|name| (base(name), Vec::new()));
        Self {
            wanted,
            found: BTreeSet::new(),
            similar: similar.collect(),
            first: Vec::new(),
        }
    }

    /// The wanted names that were not yet found.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'w str> {
        let wanted = self.wanted.iter().map(String::as_str);
        wanted.filter(|name| !self.found.contains(name))
    }

    /// Hands the member over if it is wanted. It is an error if a wanted member cannot be taken.
    pub(super) fn offer(&mut self, member: Member<'_>, each: &mut Each<'_>) -> Result<()> {
        let Some(name) = self.wanted.get(&member.name) else {
            if member.sort == Sort::File {
                self.remember(member.name);
            }
            return Ok(());
        };
        if member.sort != Sort::File {
            return Err(no_file(name, &member.sort));
        }
        if !self.found.insert(name) {
            return Err(Error::new(
                Kind::Input,
                format!("the archive has the member {} more than once", quoted(name)),
            )
            .hint("it is not clear which one is meant: use another download of this release"));
        }
        if member.size > MAX_SIZE {
            return Err(Error::new(
                Kind::Input,
                format!("{} is too large for a bundle", quoted(name)),
            )
            .expected(format!("at most {MAX_SIZE} bytes"))
            .found(format!("{} bytes", member.size))
            .hint(
                "take another file, or a download of the same release without debugging symbols",
            ));
        }
        each(name, member.size, member.content)
    }

    fn remember(&mut self, name: String) {
        if let Some(similar) = self.similar.get_mut(base(&name))
            && similar.len() < SUGGESTIONS
        {
            similar.push(name);
        } else if self.first.len() < SUGGESTIONS {
            self.first.push(name);
        }
    }

    /// Whether everything was found.
    ///
    /// # Errors
    /// Lists the files that were not found, and similar ones.
    pub(super) fn finish(self) -> Result<()> {
        let missing: Vec<&str> = self.missing().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let listed = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            quoted.join(", ")
        };
        let mut error = Error::new(Kind::Input, "the archive lacks files that the recipe takes");
        let mut helped = false;
        for name in missing {
            error = error.detail("missing", quoted(name));
            let similar = self.similar.get(base(name)).map_or(&[][..], Vec::as_slice);
            if !similar.is_empty() {
                error = error.detail("similar", listed(similar));
                helped = true;
            }
        }
        if !helped && !self.first.is_empty() {
            error = error.detail("it holds", listed(&self.first) + ", …");
        }
        Err(error.hint(
            "correct `from` in the recipe, then run `builder lock --update` for the component",
        ))
    }
}

fn no_file(name: &str, sort: &Sort) -> Error {
    let error = Error::new(
        Kind::Input,
        format!("{} is {sort}, not a regular file", quoted(name)),
    );
    let target = match sort {
        Sort::Symlink(target) if !target.starts_with('/') => {
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            resolve(parent, target)
        }
        Sort::Symlink(target) | Sort::Hardlink(target) => resolve("", target),
        _ => None,
    };
    error.hint(match target {
        Some(target) => {
            format!("take the file that it points to: write `from = {target:?}` in the recipe")
        }
        None => "only regular files can be taken: correct `from` in the recipe".to_owned(),
    })
}

/// The member a link points to, as far as names tell.
fn resolve(parent: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in parent.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
