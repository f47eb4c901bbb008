//! Copying a directory so that all of it is on disk afterwards.

use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use crate::error::Result;
use crate::files::{contents, private_directory};

/// Copies a directory of files, links and directories. The copy is on disk afterwards, except for its name.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    private_directory(to)?;
    for path in contents(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else {
            fs::copy(&path, &target)?;
            fs::File::open(&target)?.sync_all()?;
        }
    }
    fs::File::open(to)?.sync_all()?;
    Ok(())
}

/// Brings a change of a path's name to the disk.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    Ok(fs::File::open(parent)?.sync_all()?)
}

/// The size of all files in a directory, in bytes; 0 if there is none.
pub(super) fn size_of(dir: &Path) -> Result<u64> {
    let mut size = 0;
    for path in contents(dir)? {
        let metadata = path.symlink_metadata()?;
        size += if metadata.is_dir() {
            size_of(&path)?
        } else {
            metadata.len()
        };
    }
    Ok(size)
}
