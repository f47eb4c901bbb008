//! Everything that is in a home, so that two states can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use stub::digest::Sha256;

/// Files of the played programs, which are not ours.
const PLAYED: [&str; 2] = ["calls", "state"];

/// What is at a path. Times do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory with these permissions.
    Directory(u32),
    /// A file with these permissions and contents.
    File(u32, Sha256),
    /// A link to this place.
    Link(String),
    /// Something else, such as a socket.
    Other,
}

impl Entry {
    /// Whether both are the same but for the contents of a file.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(mode, _), Self::File(others, _)) => mode == others,
            _ => self == other,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(mode) => write!(f, "a directory {mode:04o}"),
            Self::File(mode, digest) => write!(f, "a file {mode:04o} {}", digest.short(8)),
            Self::Link(target) => write!(f, "a link to {target}"),
            Self::Other => f.write_str("something else"),
        }
    }
}

/// A state of a home.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing(pub BTreeMap<String, Entry>);

impl Listing {
    /// Lists everything below a directory.
    pub fn of(root: &Path) -> Self {
        let mut listing = Self::default();
        listing.walk(root, root);
        listing
    }

    fn walk(&mut self, root: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            if PLAYED.contains(&name) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.mode() & 0o7777;
            let found = if metadata.is_dir() {
                self.walk(root, &path);
                Entry::Directory(mode)
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(&path).unwrap().display().to_string())
            } else if metadata.is_file() {
                Entry::File(mode, Sha256::of(&fs::read(&path).unwrap()))
            } else {
                Entry::Other
            };
            let mut name = without_time(name);
            while self.has(&name) {
                name.push_str(" (another)");
            }
            self.0.insert(name, found);
        }
    }

    /// Whether there is something at a path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The paths of files whose contents differ from those in another listing of the same run: keys, certificates, times.
    pub fn chance(&self, other: &Self) -> BTreeSet<String> {
        let differs = |(path, entry): &(&String, &Entry)| {
            let entry_of_other = other.0.get(*path);
            entry_of_other.is_some_and(|o| o != *entry && o.is_like(entry))
        };
        let differing = self.0.iter().filter(differs);
        differing.map(|(path, _)| path.clone()).collect()
    }

    /// How it differs from what is wanted, a line for each path. The contents of some files may be any.
    pub fn differences(&self, wanted: &Self, any: &BTreeSet<String>) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.0 {
            match wanted.0.get(path) {
                None => lines.push(format!("{path}: {entry}, which should not be there")),
                Some(other) if entry == other => {}
                Some(other) if any.contains(path) && entry.is_like(other) => {}
                Some(other) => lines.push(format!("{path}: {entry} instead of {other}")),
            }
        }
        let missing = wanted.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(missing.map(|path| format!("{path}: missing")));
        lines
    }

    /// The paths that are neither in the old state nor in the new one, and those whose contents are neither, a line for each.
    pub fn strangers(&self, old: &Self, new: &Self, any: &BTreeSet<String>) -> Strangers {
        let mut found = Strangers::default();
        for (path, entry) in &self.0 {
            let known = [old.0.get(path), new.0.get(path)];
            let fits =
                |other: &&Entry| *other == entry || (any.contains(path) && other.is_like(entry));
            if known.iter().all(Option::is_none) {
                found.rests.push(path.clone());
            } else if !known.iter().flatten().any(fits) {
                found.changed.push(format!("{path}: {entry}"));
            }
        }
        found
    }
}

/// What belongs to neither state.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Paths that neither has.
    pub rests: Vec<String>,
    /// Paths that are otherwise in both.
    pub changed: Vec<String>,
}

/// The name of a path without the time in it, which differs from run to run: `replaced-1700000000`.
fn without_time(path: &str) -> String {
    let part = |part: &str| match part.split_once('-') {
        Some((word, time)) if time.len() > 8 && time.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{word}-TIME")
        }
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(&str, &str)]) -> Listing {
        let file = |text: &str| Entry::File(0o600, Sha256::of(text.as_bytes()));
        let entries = entries.iter();
        Listing(entries.map(|(p, t)| ((*p).to_owned(), file(t))).collect())
    }

    #[test]
    fn a_home_is_listed_with_permissions_links_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("data/replaced-1700000000")).unwrap();
        fs::create_dir(dir.path().join("data/replaced-1700000001")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::write(dir.path().join("calls"), "start").unwrap();
        std::os::unix::fs::symlink("data", dir.path().join("link")).unwrap();
        let found = Listing::of(dir.path());
        let paths: Vec<_> = found.0.keys().map(String::as_str).collect();
        let replaced = ["data/replaced-TIME", "data/replaced-TIME (another)"];
        assert_eq!(paths, ["data", replaced[0], replaced[1], "link"]);
        assert_eq!(found.0["link"], Entry::Link("data".to_owned()));
        assert!(found.has("link"));
    }

    #[test]
    fn states_are_compared_but_for_chance() {
        let old = listing(&[("a", "1"), ("key", "x"), ("gone", "")]);
        let new = listing(&[("a", "2"), ("key", "y"), ("new", "")]);
        let any = new.chance(&listing(&[("a", "2"), ("key", "z"), ("new", "")]));
        assert_eq!(any, BTreeSet::from(["key".to_owned()]));
        let found = listing(&[("a", "2"), ("key", "q"), ("rest", "")]);
        assert_eq!(
            found.differences(&new, &any),
            [
                "rest: a file 0600 e3b0c442, which should not be there",
                "new: missing"
            ]
        );
        let found = listing(&[("a", "3"), ("key", "q"), ("rest", "")]);
        let strangers = found.strangers(&old, &new, &any);
        assert_eq!(strangers.rests, ["rest"]);
        assert_eq!(strangers.changed.len(), 1, "{strangers:?}");
        assert!(strangers.changed[0].starts_with("a: "), "{strangers:?}");
    }
}
