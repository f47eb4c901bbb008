//! Files that appear whole or not at all, and their removal.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::error::{Context as _, Result};

/// Permissions of directories that are nobody else's business.
pub(crate) const PRIVATE: u32 = 0o700;

/// Where a file is written before it gets its name. systemd does not look at names that begin with a dot.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Writes what a file is to hold to its [`temporary`] name, which it gives. Afterwards that is on disk.
pub(crate) fn prepare(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    let temporary = temporary(path);
    // An interrupted run may have left it.
    remove_if_there(&temporary)?;
    let mut options = fs_err::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    // Not by `open`: there the umask would have its say.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok(temporary)
}

/// Gives a file a new content in one step, and makes its directory if that is missing. Afterwards that is on disk.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs_err::create_dir_all(dir)?;
    let temporary = prepare(path, bytes, mode)?;
    fs_err::rename(&temporary, path)?;
    Ok(fs_err::File::open(dir)?.sync_all()?)
}

/// Gives a file a new content in one step. Not synced: for what can be made again.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    fs_err::write(&temporary, bytes)?;
    Ok(fs_err::rename(&temporary, path)?)
}

/// Makes a directory, and those above it, if it is missing. Nobody but its owner has rights to it afterwards, whatever
/// the umask, and whatever it was before.
pub(crate) fn private_directory(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        if let Some(parent) = dir.parent() {
            fs_err::create_dir_all(parent)?;
        }
        std::fs::DirBuilder::new()
            .mode(PRIVATE)
            .create(dir)
            .about(|| format!("cannot make the directory `{}`", dir.display()))?;
    }
    if fs_err::metadata(dir)?.permissions().mode() & 0o777 != PRIVATE {
        fs_err::set_permissions(dir, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

/// Whether an error of taking a lock says that the file system has no locks, as NFS without its lock service.
#[must_use]
pub fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let none = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| none.contains(&errno))
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// What is in a directory; nothing if it is not there.
pub(crate) fn contents(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<_>>()?)
}

/// Removes a file, a link, or a directory with all that is in it, read-only directories included, if it is there. Goes on
/// when something cannot be removed, and then gives the first error.
pub fn remove_tree(path: &Path) -> Result<()> {
    let metadata = match fs_err::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return Ok(fs_err::remove_file(path)?);
    }
    // The store's directories are read-only. Others' directories cannot be changed, and need not be if they are empty.
    let _ = fs_err::set_permissions(path, Permissions::from_mode(PRIVATE));
    let mut first = Ok(());
    for entry in contents(path)? {
        first = first.and(remove_tree(&entry));
    }
    first.and_then(|()| Ok(fs_err::remove_dir(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn replaced_files_have_the_asked_permissions_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/file");
        for (text, permissions) in [("one", 0o600), ("two", 0o666)] {
            // As an interrupted run leaves it.
            let _ = fs_err::write(temporary(&file), "half");
            replace(&file, text.as_bytes(), permissions).unwrap();
            assert_eq!(fs_err::read_to_string(&file).unwrap(), text);
            assert_eq!(mode(&file), permissions);
        }
        assert_eq!(contents(file.parent().unwrap()).unwrap(), [file]);
    }

    #[test]
    fn private_directories_are_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("a/b");
        private_directory(&private).unwrap();
        assert_eq!(mode(&private), PRIVATE);
        fs_err::set_permissions(&private, Permissions::from_mode(0o755)).unwrap();
        private_directory(&private).unwrap();
        assert_eq!(mode(&private), PRIVATE);
    }

    #[test]
    fn a_tree_goes_with_its_read_only_directories() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs_err::create_dir_all(tree.join("a")).unwrap();
        fs_err::write(tree.join("a/file"), "").unwrap();
        for path in [tree.join("a"), tree.clone()] {
            fs_err::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
        }
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(contents(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }
}
