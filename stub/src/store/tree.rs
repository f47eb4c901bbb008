//! Comparing a directory of the store or of a generation with its required content.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Sizes;
use crate::bundle::{BundlePath, Component, Mode};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

/// Permission bits of every directory of a component.
pub(super) const DIRECTORY_MODE: u32 = 0o555;

/// The required kind and content of a path.
#[derive(Debug)]
pub(super) enum Entry {
    Directory,
    File {
        mode: Mode,
        sha256: Sha256,
        size: u64,
    },
    Link {
        target: String,
    },
}

/// The required content of a directory, by path; a directory stands before its own content.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Permission bits of its directories and of the one they are in, if they matter. Then nothing but the entries may be there.
    directory_mode: Option<u32>,
}

/// Something in the store or a generation that is not as it was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub path: PathBuf,
    /// The problem there, for people: `missing`, `has 12 bytes instead of 34`.
    pub problem: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Tree {
    /// A component's directory in the store.
    pub(super) fn of_component(component: &Component, sizes: &Sizes) -> Result<Self> {
        let mut tree = Self {
            directory_mode: Some(DIRECTORY_MODE),
            ..Self::default()
        };
        for file in &component.files {
            let size = *sizes.get(&file.sha256).ok_or_else(|| {
                Error::new(Kind::Input, format!("no frame holds {}", file.sha256))
            })?;
            let (mode, sha256) = (file.mode, file.sha256);
            tree.insert(&file.path, Entry::File { mode, sha256, size });
        }
        for link in &component.links {
            let target = link.target.to_string();
            tree.insert(&link.path, Entry::Link { target });
        }
        Ok(tree)
    }

    /// A generation's directory, apart from its manifest: a link for each file and link of its components.
    pub(super) fn of_generation(components: &[Component]) -> Self {
        let mut tree = Self::default();
        for component in components {
            let store_name = component.store_name();
            let files = component.files.iter().map(|f| &f.path);
            for path in files.chain(component.links.iter().map(|l| &l.path)) {
                // From the directory the link lies in: up to the generation, to `generations`, and out of it.
                let up = "../".repeat(path.segments().count() + 1);
                let target = format!("{up}store/{store_name}/{path}");
                tree.insert(path, Entry::Link { target });
            }
        }
        tree
    }

    fn insert(&mut self, path: &BundlePath, entry: Entry) {
        for (at, _) in path.as_str().match_indices('/') {
            let parent = path.as_str()[..at].to_owned();
            self.entries.entry(parent).or_insert(Entry::Directory);
        }
        self.entries.insert(path.to_string(), entry);
    }

    /// Compares a directory with what must be in it, by names, kinds, sizes, permissions and targets.
    pub(super) fn damages(&self, root: &Path) -> Vec<Damage> {
        let mut damages = Vec::new();
        let mut wrong = |path: &Path, problem: String| {
            let path = path.to_owned();
            damages.push(Damage { path, problem });
        };
        if self.directory_mode.is_some() {
            match problem(root, &Entry::Directory, self.directory_mode) {
                // Then everything in it is missing as well.
                Some(problem) if !root.is_dir() => {
                    wrong(root, problem);
                    return damages;
                }
                Some(problem) => wrong(root, problem),
                None => {}
            }
            self.extras(root, "", &mut wrong);
        }
        for (name, entry) in &self.entries {
            let path = root.join(name);
            if let Some(problem) = problem(&path, entry, self.directory_mode) {
                wrong(&path, problem);
            } else if matches!(entry, Entry::Directory) {
                self.extras(&path, &format!("{name}/"), &mut wrong);
            }
        }
        damages
    }

    /// Finds entries of a directory that do not belong there.
    fn extras(&self, directory: &Path, prefix: &str, wrong: &mut impl FnMut(&Path, String)) {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) => return wrong(directory, format!("cannot be read: {e}")),
        };
        let mut names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
        names.sort();
        for name in names {
            let known = name.to_str();
            if !known.is_some_and(|n| self.entries.contains_key(&format!("{prefix}{n}"))) {
                wrong(&directory.join(name), "does not belong there".to_owned());
            }
        }
    }
}

/// The problem with one path, if there is one.
fn problem(path: &Path, entry: &Entry, directory_mode: Option<u32>) -> Option<String> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Some("missing".to_owned()),
        Err(e) => return Some(format!("cannot be examined: {e}")),
    };
    let bits = found.mode() & 0o7777;
    let mode = |expected: u32| {
        (bits != expected).then(|| format!("has permissions {bits:04o} instead of {expected:04o}"))
    };
    match entry {
        Entry::Directory if found.is_dir() => directory_mode.and_then(mode),
        Entry::File { size, .. } if found.is_file() && found.len() != *size => {
            Some(format!("has {} bytes instead of {size}", found.len()))
        }
        Entry::File { mode: m, .. } if found.is_file() => mode(m.bits()),
        Entry::Link { target } if found.is_symlink() => match std::fs::read_link(path) {
            Ok(found) if found.as_os_str() == target.as_str() => None,
            Ok(found) => Some(format!("points to {} instead of {target}", found.display())),
            Err(e) => Some(format!("cannot be read: {e}")),
        },
        Entry::Directory => Some(format!("is {} instead of a directory", kind(&found))),
        Entry::File { .. } => Some(format!("is {} instead of a file", kind(&found))),
        Entry::Link { .. } => Some(format!("is {} instead of a link", kind(&found))),
    }
}

/// The type of a file, for people.
pub(super) fn kind(found: &Metadata) -> &'static str {
    match found.file_type() {
        t if t.is_dir() => "a directory",
        t if t.is_file() => "a file",
        t if t.is_symlink() => "a link",
        _ => "a special file",
    }
}
