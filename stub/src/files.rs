//! Writes files so that they appear completely or not at all, and removes files and directories.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;

use crate::error::{Context as _, Result};
use crate::paths::At as _;

/// Permissions of directories that only their owner may use.
pub(crate) const PRIVATE: u32 = 0o700;

/// The path at which a file is written before it gets its name. systemd ignores names that begin with a dot.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Writes the new contents of a file to its [`temporary`] path, and returns that path. Durable when this returns. After an
/// error, nothing is there.
pub(crate) fn prepare(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    let temporary = temporary(path);
    // An interrupted run may have left the file behind.
    remove_if_there(&temporary)?;
    or_remove(
        &temporary,
        write_new(&temporary, bytes, mode).and_then(|file| file.sync_all()),
    )
    .at(path)?;
    Ok(temporary)
}

/// Removes a temporary file or directory if making it, or giving it its name, has failed: a full disk should not stay full because
/// of us.
pub(crate) fn or_remove<T, E>(temporary: &Path, result: Result<T, E>) -> Result<T, E> {
    if result.is_err() {
        // The error that led here is the one to report.
        let _ = remove_tree(temporary);
    }
    result
}

/// The new contents of a file, and its permissions.
pub(crate) struct New<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) mode: u32,
}

/// So many files are brought to the disk one by one. For more of them, one sync of the file system takes less time, although it
/// includes what other programs have written.
const FEW: usize = 3;

/// [Prepares](prepare) several files. All of them are durable when this returns. After an error, none of them is left.
pub(crate) fn prepare_all(files: &[New]) -> Result<()> {
    or_remove_all(files, try_to_prepare_all(files))
}

/// Removes the temporary files of all these if something has failed.
pub(crate) fn or_remove_all<T>(files: &[New], result: Result<T>) -> Result<T> {
    if result.is_err() {
        for file in files {
            let _ = fs_err::remove_file(temporary(file.path));
        }
    }
    result
}

fn try_to_prepare_all(files: &[New]) -> Result<()> {
    if files.len() <= FEW {
        let each = |file: &New| prepare(file.path, file.bytes, file.mode).map(drop);
        return files.iter().try_for_each(each);
    }
    // Opened before anything is written, because errors of writing back are reported only to files that were open.
    let mut directories = BTreeMap::new();
    for file in files {
        let directory = file.path.parent().unwrap_or(file.path);
        if !directories.contains_key(directory) {
            directories.insert(directory, fs_err::File::open(directory)?);
        }
    }
    for file in files {
        let temporary = temporary(file.path);
        remove_if_there(&temporary)?;
        write_new(&temporary, file.bytes, file.mode).at(file.path)?;
    }
    for (directory, open) in directories {
        rustix::fs::syncfs(open.file())
            .map_err(io::Error::from)
            .about(|| {
                format!(
                    "failed to sync the file system of `{}`",
                    directory.display()
                )
            })?;
    }
    Ok(())
}

/// Replaces the contents of several files of one directory, each in one step. Creates the directory if it is missing. Durable
/// when this returns; if it is interrupted or fails, some files have their old contents and some their new ones. After an error,
/// nothing else is there.
pub(crate) fn replace_all(directory: &Path, files: &[New]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    make_directories(directory).at(directory)?;
    prepare_all(files)?;
    let rename = |file: &New| fs_err::rename(temporary(file.path), file.path);
    let renamed = files.iter().try_for_each(rename).map_err(Into::into);
    or_remove_all(files, renamed)?;
    Ok(fs_err::File::open(directory)?.sync_all()?)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    // `open` would apply the umask to the permissions.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Replaces the contents of a file in one step. Creates missing directories above it. Durable when this returns. After an
/// error, the file is the old one or the new one, and nothing else is there.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    make_directories(dir).at(dir)?;
    let temporary = prepare(path, bytes, mode)?;
    publish(&temporary, path)?;
    sync_parent(path)
}

/// Gives a temporary file its name, in one step. After an error, the temporary file is gone.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<()> {
    Ok(or_remove(temporary, fs_err::rename(temporary, path))?)
}

/// Makes a link, or replaces another one or a file, in one step. The directory must exist. After an error, nothing else is
/// there.
pub(crate) fn replace_link(target: &Path, link: &Path) -> Result<()> {
    let temporary = temporary(link);
    remove_if_there(&temporary)?;
    fs_err::os::unix::fs::symlink(target, &temporary)?;
    publish(&temporary, link)
}

/// Brings a change of a path's name to the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    Ok(fs_err::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
}

/// Replaces the contents of a file in one step. Not durable when this returns, so it is only for files that can be made
/// again.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    or_remove(&temporary, fs_err::write(&temporary, bytes)).at(path)?;
    publish(&temporary, path)
}

/// Creates a directory and all missing directories above it. Only the user may access new directories, whatever the umask
/// is. Existing directories stay as they are.
pub(crate) fn make_directories(dir: &Path) -> io::Result<()> {
    // `Path::parent` of a name alone is empty: that is the current directory.
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_directories(parent)?;
    }
    match std::fs::DirBuilder::new().mode(PRIVATE).create(dir) {
        // Another process has created it in between.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        Err(e) => {
            let text = format!("failed to create directory `{}`: {e}", dir.display());
            return Err(io::Error::new(e.kind(), text));
        }
        Ok(()) => {}
    }
    // The umask may have removed permissions, even the user's own.
    fs_err::set_permissions(dir, Permissions::from_mode(PRIVATE))
}

/// Creates a directory and all missing directories above it. Afterwards, only its owner may access it, whatever the umask is
/// and whatever its permissions were before.
pub(crate) fn private_directory(dir: &Path) -> Result<()> {
    make_directories(dir).at(dir)?;
    if fs_err::metadata(dir)?.permissions().mode() & 0o777 != PRIVATE {
        fs_err::set_permissions(dir, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

/// Whether an error from taking a lock says that the file system does not support locks, for example NFS without its lock
/// service.
#[must_use]
pub fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let none = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| none.contains(&errno))
}

/// Removes a file if it exists.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// The paths of all entries of a directory; none if it does not exist.
pub(crate) fn contents(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<_>>()?)
}

/// Removes a file, a link, or a directory with all its contents, even if directories are read-only. Does nothing if the path
/// does not exist. If something cannot be removed, continues with the rest and then returns the first error.
pub fn remove_tree(path: &Path) -> Result<()> {
    let metadata = match fs_err::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return Ok(fs_err::remove_file(path)?);
    }
    // The directories of the store are read-only. The permissions of another user's directory cannot be changed, but it can
    // be removed if it is empty.
    let opened = fs_err::set_permissions(path, Permissions::from_mode(PRIVATE));
    remove_contents(path)
        .and_then(|()| Ok(fs_err::remove_dir(path)?))
        .map_err(|error| match opened {
            Err(first) if first.kind() != io::ErrorKind::PermissionDenied => first.into(),
            _ => error,
        })
}

/// Removes what is in a directory as far as that is possible, and then returns the first error.
fn remove_contents(directory: &Path) -> Result<()> {
    let mut first = Ok(());
    for entry in contents(directory)? {
        first = first.and(remove_tree(&entry));
    }
    first
}

/// Removes a directory with all its contents, as [`remove_tree`] does. If the path is a link to a directory, that directory
/// is emptied, and the link is removed. If a file system is mounted on the directory, it is only emptied. Returns the empty
/// directory if it stays.
pub(crate) fn remove_root(path: &Path) -> Result<Option<PathBuf>> {
    let link = path.is_symlink();
    if !path.is_dir() {
        return remove_tree(path).map(|()| None);
    }
    let dir = fs_err::canonicalize(path)?;
    let _ = fs_err::set_permissions(&dir, Permissions::from_mode(PRIVATE));
    remove_contents(&dir)?;
    if link {
        fs_err::remove_file(path)?;
        return Ok(Some(dir));
    }
    match fs_err::remove_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Ok(Some(dir)),
        removed => Ok(removed.map(|()| None)?),
    }
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
            // A file that an interrupted run has left behind.
            let _ = fs_err::write(temporary(&file), "half");
            replace(&file, text.as_bytes(), permissions).unwrap();
            assert_eq!(fs_err::read_to_string(&file).unwrap(), text);
            assert_eq!(mode(&file), permissions);
        }
        assert_eq!(contents(file.parent().unwrap()).unwrap(), [file]);
    }

    /// A directory of that name can neither be replaced by a file nor by a link.
    #[test]
    fn a_file_that_cannot_get_its_name_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs_err::create_dir_all(taken.join("by")).unwrap();
        for error in [
            replace(&taken, b"text", 0o600).unwrap_err(),
            write_atomically(&taken, b"text").unwrap_err(),
            replace_link(Path::new("elsewhere"), &taken).unwrap_err(),
        ] {
            assert!(error.to_string().contains("taken"), "{error}");
            let left = contents(dir.path()).unwrap();
            assert_eq!(left, std::slice::from_ref(&taken));
        }
        let link = dir.path().join("link");
        for target in ["one", "two"] {
            replace_link(Path::new(target), &link).unwrap();
            assert_eq!(fs_err::read_link(&link).unwrap(), Path::new(target));
        }
    }

    #[test]
    fn few_and_many_files_are_replaced_together_or_an_error_leaves_none_behind() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, FEW, FEW + 1, 20] {
            let dir = dir.path().join(count.to_string());
            let paths: Vec<_> = (0..count).map(|n| dir.join(n.to_string())).collect();
            for text in ["one", "two"] {
                let new = |path| New {
                    path,
                    bytes: text.as_bytes(),
                    mode: 0o640,
                };
                let files: Vec<_> = paths.iter().map(|path| new(path.as_path())).collect();
                replace_all(&dir, &files).unwrap();
                for path in &paths {
                    assert_eq!(fs_err::read_to_string(path).unwrap(), text);
                    assert_eq!(mode(path), 0o640);
                }
                let missing = dir.join("missing/file");
                let files: Vec<_> = files.into_iter().chain([new(&missing)]).collect();
                prepare_all(&files).unwrap_err();
                assert_eq!(contents(&dir).unwrap_or_default().len(), count);
            }
        }
    }

    #[test]
    fn only_the_owner_may_access_private_directories() {
        let dir = tempfile::tempdir().unwrap();
        let private = dir.path().join("a/b");
        private_directory(&private).unwrap();
        assert_eq!(mode(&private), PRIVATE);
        fs_err::set_permissions(&private, Permissions::from_mode(0o755)).unwrap();
        private_directory(&private).unwrap();
        assert_eq!(mode(&private), PRIVATE);
    }

    #[test]
    fn new_directories_are_private_and_existing_ones_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        fs_err::create_dir(&there).unwrap();
        fs_err::set_permissions(&there, Permissions::from_mode(0o755)).unwrap();
        make_directories(&there.join("a/b")).unwrap();
        let modes = ["there", "there/a", "there/a/b"].map(|name| mode(&dir.path().join(name)));
        assert_eq!(modes, [0o755, PRIVATE, PRIVATE]);
        fs_err::write(there.join("file"), "").unwrap();
        // The directory of a file in the current one.
        make_directories(Path::new("support.tar.gz").parent().unwrap()).unwrap();
        let error = make_directories(&there.join("file/a")).unwrap_err();
        assert!(error.to_string().contains("there/file"), "{error}");
    }

    #[test]
    fn a_root_is_emptied_where_a_link_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs_err::canonicalize(dir.path()).unwrap();
        let (disk, root) = (dir.join("disk"), dir.join("root"));
        let fill = |dir: &Path| {
            fs_err::create_dir_all(dir.join("store/a")).unwrap();
            fs_err::write(dir.join("key"), "").unwrap();
            fs_err::set_permissions(dir.join("store"), Permissions::from_mode(0o555)).unwrap();
        };
        fill(&disk);
        fs_err::os::unix::fs::symlink("disk", &root).unwrap();
        assert_eq!(remove_root(&root).unwrap(), Some(disk.clone()));
        assert!(!root.is_symlink() && contents(&disk).unwrap().is_empty());
        fill(&root);
        assert_eq!(remove_root(&root).unwrap(), None);
        assert_eq!(remove_root(&root).unwrap(), None);
        // A link to nothing is removed, too.
        fs_err::os::unix::fs::symlink("nowhere", &root).unwrap();
        assert_eq!(remove_root(&root).unwrap(), None);
        assert_eq!(contents(&dir).unwrap(), [disk]);
    }

    #[test]
    fn a_tree_is_removed_with_its_read_only_directories() {
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
