//! Removing generations and components that nothing needs any more.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::generation::parse_number;
use super::{Disk, Store, names};
use crate::error::{Context, Error, Kind, Result};
use crate::file_system::is_absent;

/// Holds the highest number a generation ever had, if that one was removed.
const HIGHEST: &str = ".highest";

/// The directory containerd keeps running tasks in, below its root or state directory: one directory for each
/// namespace, and in it one for each task, with a file that names the shim's program. Containerd starts that program
/// again to remove the task, so it must stay (containerd 2, `core/runtime/v2`).
const TASKS: &str = "io.containerd.runtime.v2.task";
const SHIM_PATH: &str = "shim-binary-path";

/// The generations and components that [`Store::gc`] removed, or would remove.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Numbers of generations.
    pub generations: Vec<u64>,
    /// Directories of the store.
    pub components: Vec<Unused>,
}

/// A directory of the store that nothing needs.
#[derive(Debug)]
pub struct Unused {
    /// Its name there.
    pub store_name: String,
    /// Bytes of the files in it.
    pub bytes: u64,
}

/// The generations and components that must stay.
#[derive(Debug, Default)]
struct Roots {
    generations: BTreeSet<u64>,
    components: BTreeSet<String>,
}

impl Store {
    /// Removes all generations except the current one, the previous one, and `units`, whose programs the units run. Then
    /// removes every component that neither those generations nor a running process needs. Running processes are found in
    /// `/proc` and in the records of containerd, whose root and state directories are given. With `dry_run`, nothing is
    /// removed.
    pub fn gc(&self, units: Option<u64>, containerd: &[PathBuf], dry_run: bool) -> Result<Garbage> {
        if self.generation_numbers()?.is_empty() && names(&self.store_dir())?.is_empty() {
            return Ok(Garbage::default());
        }
        let find = || self.garbage(&self.roots(units, containerd)?);
        if dry_run {
            return find();
        }
        self.change(|| {
            let garbage = find()?;
            self.remove(&garbage)?;
            Ok(garbage)
        })
    }

    fn garbage(&self, roots: &Roots) -> Result<Garbage> {
        let mut generations = self.generation_numbers()?;
        generations.retain(|n| !roots.generations.contains(n));
        let mut components = Vec::new();
        for store_name in names(&self.store_dir())? {
            if is_store_name(&store_name) && !roots.components.contains(&store_name) {
                let bytes = files_below(&self.store_dir().join(&store_name))?
                    .iter()
                    .map(std::fs::Metadata::len)
                    .sum();
                components.push(Unused { store_name, bytes });
            }
        }
        components.sort_by(|a, b| a.store_name.cmp(&b.store_name));
        Ok(Garbage {
            generations,
            components,
        })
    }

    /// Generations go first, because a generation without its components would be broken.
    fn remove(&self, garbage: &Garbage) -> Result<()> {
        let numbers = self.generation_numbers()?;
        let highest = numbers.last().filter(|n| garbage.generations.contains(n));
        if let Some(highest) = highest {
            let temporary = Disk::temporary(&self.generations_dir());
            self.disk
                .write_new(&temporary, highest.to_string().as_bytes(), 0o600)?;
            self.disk
                .rename(&temporary, &self.generations_dir().join(HIGHEST))?;
        }
        for number in &garbage.generations {
            let path = self.generations_dir().join(number.to_string());
            self.disk
                .rename(&path, &Disk::temporary(&self.generations_dir()))?;
        }
        self.disk.sync_dir(&self.generations_dir())?;
        for component in &garbage.components {
            let path = self.store_dir().join(&component.store_name);
            self.disk
                .rename(&path, &Disk::temporary(&self.store_dir()))?;
        }
        self.disk.sync_dir(&self.store_dir())?;
        self.clear_temporary()
    }

    /// The number of the next generation: one more than any ever had.
    pub(super) fn next_number(&self) -> Result<u64> {
        let present = self.generation_numbers()?.last().copied();
        let removed = match fs_err::read_to_string(self.generations_dir().join(HIGHEST)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            text => parse_number(text?.trim()),
        };
        Ok(present.max(removed).unwrap_or(0) + 1)
    }

    fn roots(&self, units: Option<u64>, containerd: &[PathBuf]) -> Result<Roots> {
        let mut roots = Roots::default();
        let numbers = self.generation_numbers()?;
        let Some(current) = self.current_number()? else {
            if numbers.is_empty() {
                return Ok(roots);
            }
            return Err(Error::new(
                Kind::Failed,
                "no generation is current, so nothing can be removed safely",
            )
            .hint("choose one with `usernetes rollback <N>`; `usernetes generations` lists them"));
        };
        roots.generations.insert(current);
        roots.generations.extend(units);
        // `rollback` cannot use a generation that cannot be read.
        let readable = |n: &&u64| self.generation(**n).is_ok();
        let previous = numbers
            .iter()
            .rev()
            .filter(|n| **n < current)
            .find(readable);
        let next = numbers.iter().filter(|n| **n > current).find(readable);
        roots.generations.extend(previous.or(next));

        for shim in recorded_shims(containerd)? {
            if let Ok(below) = shim.strip_prefix(self.generations_dir()) {
                roots
                    .generations
                    .extend(first_name(below).and_then(parse_number));
            }
            // A shim that is gone already needs nothing.
            if let (Ok(shim), Ok(store)) = (shim.canonicalize(), self.store_dir().canonicalize())
                && let Ok(below) = shim.strip_prefix(store)
            {
                roots
                    .components
                    .extend(first_name(below).map(str::to_owned));
            }
        }
        for number in numbers.iter().filter(|n| roots.generations.contains(n)) {
            let components = self.generation(*number)?.components()?;
            roots
                .components
                .extend(components.iter().map(crate::bundle::Component::store_name));
        }
        let running = running_programs()?;
        for name in names(&self.store_dir())? {
            let in_use = |m: &std::fs::Metadata| running.contains(&(m.dev(), m.ino()));
            if is_store_name(&name)
                && !roots.components.contains(&name)
                && files_below(&self.store_dir().join(&name))?
                    .iter()
                    .any(in_use)
            {
                roots.components.insert(name);
            }
        }
        Ok(roots)
    }
}

/// Whether a name in the store is a component's. Other names there are not ours to remove.
fn is_store_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(digest, rest)| {
        digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()) && rest.contains('-')
    })
}

fn first_name(path: &Path) -> Option<&str> {
    path.iter().next()?.to_str()
}

/// Metadata of all regular files below a directory.
fn files_below(dir: &Path) -> Result<Vec<std::fs::Metadata>> {
    let mut files = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.is_file() {
                files.push(metadata);
            }
        }
    }
    Ok(files)
}

/// Device and inode of the program of every process that we may examine. Paths would not do: a process in a mount
/// namespace of its own may know the file by another path.
fn running_programs() -> Result<BTreeSet<(u64, u64)>> {
    let mut programs = BTreeSet::new();
    for entry in fs_err::read_dir("/proc")? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|n| parse_number(n).is_some())
            // This fails for processes of other users, kernel threads, and processes that have just ended.
            && let Ok(program) = entry.path().join("exe").metadata()
        {
            programs.insert((program.dev(), program.ino()));
        }
    }
    Ok(programs)
}

/// The shim programs of all tasks that containerd has recorded below its directories.
fn recorded_shims(containerd: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut shims = Vec::new();
    for dir in containerd {
        // Containerd's directory has one for each plugin; where state and root share one, they are one level down.
        for tasks in [vec![dir.clone()], subdirectories(dir).unwrap_or_default()].concat() {
            for namespace in subdirectories(&tasks.join(TASKS))? {
                for task in subdirectories(&namespace)? {
                    match fs_err::read_to_string(task.join(SHIM_PATH)) {
                        Ok(path) => shims.push(PathBuf::from(path.trim())),
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(e) => {
                            return Err(e).hint(|| {
                                "without this file, it is unknown which shim is still needed"
                                    .to_owned()
                            });
                        }
                    }
                }
            }
        }
    }
    Ok(shims)
}

/// The directories in a directory; none if it is missing or not a directory.
fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Err(e) if is_absent(&e) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut directories = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}
