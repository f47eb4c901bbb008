//! Unpacking a bundle's contents into directories of the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::disk::{Disk, NewFile};
use super::tree::{DIRECTORY_MODE, Entry, Tree};
use super::write_back;
use crate::bundle::{Bundle, Component, Receiver};
use crate::digest::Sha256;
use crate::error::Result;

/// Unpacks components, each into a temporary directory in the store, and gives those directories in the same order.
///
/// They are complete and have their final permissions, but are not synced. `written` is called with the size of
/// each file that was written.
pub(super) fn unpack(
    disk: Disk,
    store: &Path,
    bundle: &Bundle,
    components: &[&Component],
    written: impl Fn(u64) + Sync,
) -> Result<Vec<PathBuf>> {
    let sizes = bundle.manifest().content_sizes();
    let mut roots = Vec::new();
    let mut directories = Vec::new();
    let mut files: BTreeMap<Sha256, Vec<(PathBuf, u32)>> = BTreeMap::new();
    for component in components {
        let root = Disk::temporary(store);
        disk.create_dirs(&root)?;
        directories.push(root.clone());
        for (name, entry) in Tree::of_component(component, &sizes)?.entries {
            let path = root.join(name);
            match entry {
                Entry::Directory => {
                    disk.create_dirs(&path)?;
                    directories.push(path);
                }
                Entry::Link { target } => disk.symlink(&target, &path)?,
                Entry::File { mode, sha256, .. } => {
                    files.entry(sha256).or_default().push((path, mode.bits()));
                }
            }
        }
        roots.push(root);
    }
    write_back::meanwhile(store, |to_disk| {
        let stub = bundle.manifest().stub.sha256;
        if let Some(paths) = files.get(&stub) {
            let bytes = bundle.stub()?;
            for (path, mode) in paths {
                disk.write_new(path, &bytes, *mode)?;
                written(bytes.len() as u64);
            }
        }
        bundle.contents(
            |frame| frame.sha256 != stub && files.contains_key(&frame.sha256),
            |frame| {
                let paths = files.get(&frame.sha256).into_iter().flatten();
                let create = |(path, mode): &(PathBuf, u32)| Ok((disk.create_new(path)?, *mode));
                Ok(Copies {
                    files: paths.map(create).collect::<Result<_>>()?,
                    size: frame.size,
                    written: &written,
                    to_disk,
                })
            },
        )
    })?;
    // Inner directories come first, because a directory cannot be written to afterwards.
    for directory in directories.iter().rev() {
        disk.set_mode(directory, DIRECTORY_MODE)?;
    }
    Ok(roots)
}

/// The files that get one content.
struct Copies<'a> {
    files: Vec<(NewFile, u32)>,
    size: u64,
    written: &'a (dyn Fn(u64) + Sync),
    to_disk: &'a (dyn Fn(u64) + Sync),
}

impl Receiver for Copies<'_> {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        for (file, _) in &mut self.files {
            file.write(bytes)?;
            (self.to_disk)(bytes.len() as u64);
        }
        Ok(())
    }

    fn verified(self) -> Result<()> {
        for (file, mode) in self.files {
            file.finish(mode)?;
            (self.written)(self.size);
        }
        Ok(())
    }
}
