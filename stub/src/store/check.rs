//! Comparing the store with what was installed.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Sizes;
use super::tree::{Damage, Entry, Tree};
use crate::bundle::Component;
use crate::digest::Sha256;
use crate::error::Result;
use crate::threads::on_all_cores;

/// How thoroughly to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names, kinds, sizes, permissions and targets of links: a matter of milliseconds.
    Names,
    /// The bytes of every file as well, by their digest.
    Contents,
}

/// A file whose bytes are to be compared.
struct Job {
    component: usize,
    path: PathBuf,
    size: u64,
    sha256: Sha256,
}

/// Compares components with their directories in the store, and gives the damaged ones with all their damage. `read` is
/// called with the size of each file that was read.
pub(super) fn components<'a>(
    store: &Path,
    components: &'a [Component],
    sizes: &Sizes,
    depth: Depth,
    read: impl Fn(u64) + Sync,
) -> Result<Vec<(&'a Component, Vec<Damage>)>> {
    let mut found = Vec::new();
    let mut jobs = Vec::new();
    for (index, component) in components.iter().enumerate() {
        let root = store.join(component.store_name());
        let tree = Tree::of_component(component, sizes)?;
        let damages = tree.damages(&root);
        // A file that is known to be damaged, or lies in a damaged directory, is not read as well.
        for (name, entry) in &tree.entries {
            let path = root.join(name);
            if let Entry::File { size, sha256, .. } = *entry
                && depth == Depth::Contents
                && !damages.iter().any(|d| path.starts_with(&d.path))
            {
                jobs.push(Job {
                    component: index,
                    path,
                    size,
                    sha256,
                });
            }
        }
        found.push((component, damages));
    }
    // The largest first, so that all cores end together.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
    let next = AtomicUsize::new(0);
    let changed = Mutex::new(Vec::new());
    on_all_cores(|| {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(problem) = changed_content(job) {
                let path = job.path.clone();
                let damage = Damage { path, problem };
                let mut changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
                changed.push((job.component, damage));
            }
            read(job.size);
        }
        Ok(())
    })?;
    for (component, damage) in changed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        found[component].1.push(damage);
    }
    found.retain(|(_, damages)| !damages.is_empty());
    for (_, damages) in &mut found {
        damages.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(found)
}

fn changed_content(job: &Job) -> Option<String> {
    let digest = fs_err::File::open(&job.path)
        .and_then(|file| Sha256::of_reader(BufReader::with_capacity(1 << 20, file)));
    match digest {
        Ok((found, _)) if found == job.sha256 => None,
        Ok((found, _)) => Some(format!("has sha256 {found} instead of {}", job.sha256)),
        Err(e) => Some(format!("cannot be read: {e}")),
    }
}
