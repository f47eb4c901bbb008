//! The file system that a path is on, or will be on once it is made.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::error::{Context, Error, Kind, Result};

/// What there is of a path, and how the file system it is on is mounted.
pub(crate) struct FileSystem<'a> {
    /// The deepest directory or file on the way to the path that exists.
    pub(crate) existing: &'a Path,
    /// What that is.
    pub(crate) metadata: Metadata,
    /// How it is mounted.
    pub(crate) flags: StatVfsMountFlags,
}

/// A way of being mounted that keeps programs from being stored there and run from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Nothing can be written.
    ReadOnly,
    /// No programs can be run.
    Noexec,
}

impl<'a> FileSystem<'a> {
    /// Fails if the path is relative, or not even what there is of it may be looked at.
    pub(crate) fn of(path: &'a Path) -> Result<Self> {
        let (existing, metadata) = nearest_existing(path)?;
        let flags = statvfs(existing)
            .map_err(io::Error::from)
            .about(|| existing.display())?
            .f_flag;
        Ok(Self {
            existing,
            metadata,
            flags,
        })
    }
}

/// The first obstacle among these flags.
pub(crate) fn obstacle(flags: StatVfsMountFlags) -> Option<Obstacle> {
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Some(Obstacle::ReadOnly);
    }
    flags
        .contains(StatVfsMountFlags::NOEXEC)
        .then_some(Obstacle::Noexec)
}

/// Whether two paths lead to the same directory or file, over whatever links. `false` if either leads to nothing.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    match (fs_err::metadata(one), fs_err::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// The first link on the way to a path that leads to nothing, as one to a disk that is not mounted.
pub(crate) fn dangling(path: &Path) -> Option<&Path> {
    path.ancestors().find(|p| p.is_symlink() && !p.exists())
}

/// The path as the kernel will call it, links in what exists of it resolved.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let resolved = path.ancestors().find_map(|existing| {
        let real = fs_err::canonicalize(existing).ok()?;
        let rest = path.strip_prefix(existing).ok()?;
        // An empty rest would add a slash.
        Some(if rest == Path::new("") {
            real
        } else {
            real.join(rest)
        })
    });
    resolved.unwrap_or_else(|| path.to_owned())
}

/// Whether an error says that there is nothing at a path, or that something on the way to it is no directory.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The text of a file; `None` if it [is absent](is_absent).
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn nearest_existing(path: &Path) -> Result<(&Path, Metadata)> {
    for path in path.ancestors().filter(|_| path.is_absolute()) {
        match fs_err::metadata(path) {
            Ok(metadata) => return Ok((path, metadata)),
            Err(e) if is_absent(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Error::new(
        Kind::Host,
        format!("{} is not an absolute path", path.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_what_exists_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs_err::canonicalize(dir.path()).unwrap();
        fs_err::create_dir_all(dir.join("real/u")).unwrap();
        fs_err::os::unix::fs::symlink("real", dir.join("home")).unwrap();
        assert_eq!(resolved(&dir.join("home/u")), dir.join("real/u"));
        assert_eq!(resolved(&dir.join("home/u/a/b")), dir.join("real/u/a/b"));
        assert_eq!(resolved(Path::new("/nowhere/a")), Path::new("/nowhere/a"));
    }

    #[test]
    fn what_exists_of_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("a/b");
        assert_eq!(FileSystem::of(&wanted).unwrap().existing, dir.path());
        let file = dir.path().join("file");
        fs_err::write(&file, "").unwrap();
        let below = file.join("a");
        assert_eq!(FileSystem::of(&below).unwrap().existing, file);
        assert!(FileSystem::of(Path::new("a/b")).is_err());
    }

    #[test]
    fn read_only_is_the_greater_obstacle() {
        let (ro, noexec) = (StatVfsMountFlags::RDONLY, StatVfsMountFlags::NOEXEC);
        assert_eq!(obstacle(StatVfsMountFlags::NOSUID), None);
        assert_eq!(obstacle(noexec), Some(Obstacle::Noexec));
        assert_eq!(obstacle(ro | noexec), Some(Obstacle::ReadOnly));
    }
}
