//! Examines the file system that a path is on, or will be on once it is created.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::error::{Context, Error, Kind, Result};

/// The existing part of a path, and the file system that it is on.
pub(crate) struct FileSystem<'a> {
    /// The longest part of the path that exists. It may be a directory or a file.
    pub(crate) existing: &'a Path,
    /// The metadata of that part.
    pub(crate) metadata: Metadata,
    /// The flags with which the file system is mounted.
    pub(crate) flags: StatVfsMountFlags,
}

/// A mount flag that prevents programs from being stored on a file system or run from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Nothing can be written to it.
    ReadOnly,
    /// No programs can be run from it.
    Noexec,
}

impl<'a> FileSystem<'a> {
    /// Examines a path. Fails if it is relative, or if the user may not even look at its existing part.
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

/// Whether two paths lead to the same directory or file, after following links. `false` if one of them does not exist.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    match (fs_err::metadata(one), fs_err::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// The link in a path that leads to nothing, for example to a disk that is not mounted; `None` if there is no such link.
pub(crate) fn dangling(path: &Path) -> Option<&Path> {
    path.ancestors().find(|p| p.is_symlink() && !p.exists())
}

/// The path with all links in its existing part resolved, as the kernel reports it.
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

/// Whether an error says that a path does not exist, or that a part of it is not a directory.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The text of a file; `None` if the file [does not exist](is_absent).
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
    fn links_in_the_existing_part_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs_err::canonicalize(dir.path()).unwrap();
        fs_err::create_dir_all(dir.join("real/u")).unwrap();
        fs_err::os::unix::fs::symlink("real", dir.join("home")).unwrap();
        assert_eq!(resolved(&dir.join("home/u")), dir.join("real/u"));
        assert_eq!(resolved(&dir.join("home/u/a/b")), dir.join("real/u/a/b"));
        assert_eq!(resolved(Path::new("/nowhere/a")), Path::new("/nowhere/a"));
    }

    #[test]
    fn the_existing_part_of_a_path_is_found() {
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
