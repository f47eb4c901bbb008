//! Every change the store makes to the disk, in one place, so that a test can stop it at each of them.

use std::fs::Permissions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::{Context as _, Result};
use crate::files::make_directories;
use crate::paths::At as _;

/// The beginning of the names of temporary files and directories.
pub(super) const TEMPORARY: &str = ".tmp-";

/// Is called before every change of the disk, with the kind of change and the path. An error prevents the change.
pub type Observer = fn(&'static str, &Path) -> io::Result<()>;

/// Makes all changes of the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) observer: Observer,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            observer: |_, _| Ok(()),
        }
    }
}

impl Disk {
    /// A name in a directory that nothing has yet.
    pub(super) fn temporary(dir: &Path) -> PathBuf {
        // The standard library seeds this from the kernel's random numbers.
        let random = RandomState::new().build_hasher().finish();
        dir.join(format!("{TEMPORARY}{random:016x}"))
    }

    /// Makes a directory, and those above it that are missing, to which only the user has access.
    pub(super) fn create_dirs(self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        (self.observer)("create directory", path)?;
        make_directories(path).at(path)
    }

    /// Makes a file that must not be there yet, and closes it. It is not synced.
    pub(super) fn write_new(self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let mut file = self.create_new(path)?;
        file.write(bytes)?;
        file.finish(mode)
    }

    /// Makes a file that must not be there yet, for its content to be written piece by piece.
    pub(super) fn create_new(self, path: &Path) -> Result<NewFile> {
        (self.observer)("create file", path)?;
        let mut options = fs_err::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(NewFile { disk: self, file })
    }

    pub(super) fn symlink(self, target: &str, path: &Path) -> Result<()> {
        (self.observer)("create link", path)?;
        Ok(fs_err::os::unix::fs::symlink(target, path)?)
    }

    pub(super) fn set_mode(self, path: &Path, mode: u32) -> Result<()> {
        (self.observer)("set permissions", path)?;
        Ok(fs_err::set_permissions(path, Permissions::from_mode(mode))?)
    }

    /// Renames. A directory never replaces another one that has something in it, says rename(2).
    pub(super) fn rename(self, from: &Path, to: &Path) -> io::Result<()> {
        (self.observer)("rename", to)?;
        fs_err::rename(from, to)
    }

    /// Lets two directories change places: in one step where the file system can, which NFS cannot.
    pub(super) fn exchange(self, new: &Path, old: &Path) -> Result<()> {
        (self.observer)("exchange", old)?;
        match rustix::fs::renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                let aside = Self::temporary(old.parent().unwrap_or(old));
                self.rename(old, &aside)?;
                self.rename(new, old)?;
                self.rename(&aside, new)?;
                Ok(())
            }
            result => named("exchange", old, result),
        }
    }

    /// Brings a directory's entries to the disk, though not the files they name.
    pub(super) fn sync_dir(self, path: &Path) -> Result<()> {
        (self.observer)("sync directory", path)?;
        Ok(fs_err::File::open(path)?.sync_all()?)
    }

    /// Brings everything to the disk that was written to the file system a directory lies on. The directory must
    /// have been opened before the writing began: errors of writing back are reported only to files that were open.
    pub(super) fn sync_file_system(self, directory: &fs_err::File) -> Result<()> {
        (self.observer)("sync file system", directory.path())?;
        let result = rustix::fs::syncfs(directory.file());
        named("sync the file system of", directory.path(), result)
    }

    /// Removes a file, a link, or a directory with all that is in it, read-only directories included.
    pub(super) fn remove_all(self, path: &Path) -> Result<()> {
        if !fs_err::symlink_metadata(path)?.is_dir() {
            (self.observer)("remove file", path)?;
            return Ok(fs_err::remove_file(path)?);
        }
        self.set_mode(path, 0o700)?;
        for entry in fs_err::read_dir(path)? {
            self.remove_all(&entry?.path())?;
        }
        (self.observer)("remove directory", path)?;
        Ok(fs_err::remove_dir(path)?)
    }
}

/// A file that is being written.
pub(super) struct NewFile {
    disk: Disk,
    file: fs_err::File,
}

impl NewFile {
    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (self.disk.observer)("write file", self.file.path())?;
        Ok(self.file.write_all(bytes)?)
    }

    /// Gives the file its permissions and closes it. It is not synced.
    pub(super) fn finish(self, mode: u32) -> Result<()> {
        // Not by `open`, where the umask would apply.
        (self.disk.observer)("set permissions", self.file.path())?;
        Ok(self.file.set_permissions(Permissions::from_mode(mode))?)
    }
}

/// Adds the failed operation and its path to an error, in the words of `fs_err`.
fn named<T, E: Into<io::Error>>(what: &str, path: &Path, result: Result<T, E>) -> Result<T> {
    result
        .map_err(Into::into)
        .about(|| format!("failed to {what} `{}`", path.display()))
}
