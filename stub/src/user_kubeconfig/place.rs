//! Finds the file that a kubeconfig's path leads to through links, and replaces it without changing its permissions, its
//! owner and its other names.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{PRIVATE, prepare, remove_if_there};

/// Permissions of a new file, which contains a private key.
const SECRET: u32 = 0o600;
/// How many links are followed, one after the other. The kernel follows as many.
const LINKS: usize = 40;

/// The file that a path leads to. It need not exist, even if a link leads to it.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..LINKS {
        match fs_err::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs_err::read_link(&path)?;
                path = path.parent().unwrap_or(&path).join(target);
            }
            Ok(_) => return Ok(fs_err::canonicalize(&path)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
                return Ok(match (dir, path.file_name()) {
                    (Some(dir), Some(name)) => dir.join(name),
                    _ => path,
                });
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(Error::new(
        Kind::Input,
        format!(
            "{}: this link leads to an endless chain of links",
            path.display()
        ),
    )
    .expected("a kubeconfig, or a link to one")
    .hint(format!("see `ls -l {}`", path.display())))
}

/// The text of a kubeconfig; `None` if the file does not exist. A device such as `/dev/null` is read as empty, as kubectl
/// does.
pub(super) fn read(file: &Path) -> Result<Option<String>> {
    let metadata = match fs_err::metadata(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if metadata.file_type().is_char_device() {
        return Ok(Some(String::new()));
    }
    if !metadata.is_file() {
        return Err(not_a_file(file));
    }
    let bytes = fs_err::read(file)?;
    String::from_utf8(bytes).map(Some).map_err(|e| {
        Error::new(
            Kind::Input,
            format!("{}: this is not a kubeconfig", file.display()),
        )
        .expected("text in UTF-8")
        .found(format!(
            "byte {} is not UTF-8",
            e.utf8_error().valid_up_to()
        ))
        .hint(format!(
            "convert it, for example with `iconv`, or leave `{}` out of $KUBECONFIG",
            file.display()
        ))
    })
}

fn not_a_file(file: &Path) -> Error {
    Error::new(
        Kind::Input,
        format!("{}: this is not a regular file", file.display()),
    )
    .expected("a kubeconfig, or no file of this name")
    .hint("name another file in $KUBECONFIG, or unset it to use ~/.kube/config")
}

/// Fails if a file must not be changed. This respects a file's permissions for root, too, who could write every file.
pub(super) fn check_writable(file: &Path) -> Result<()> {
    let metadata = match fs_err::metadata(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_file() {
        return Err(not_a_file(file));
    }
    if metadata.mode() & 0o200 != 0 && access(file, Access::WRITE_OK).is_ok() {
        return Ok(());
    }
    Err(Error::new(Kind::Input, format!("{}: this file is read-only", file.display()))
        .expected("a file that you may write")
        .found(format!("mode {:04o}, user {}", metadata.mode() & 0o7777, metadata.uid()))
        .hint(format!(
            "if you may change this file, run `chmod u+w {}`; `usernetes kubectl` works without your kubeconfig",
            file.display()
        )))
}

/// Creates the missing directories above a file, and returns how many were missing.
pub(super) fn make_directory(file: &Path) -> Result<usize> {
    let missing = missing_directories(file);
    if let Some(dir) = file.parent()
        && missing > 0
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE)
            .create(dir)
            .about(|| format!("cannot make the directory `{}`", dir.display()))?;
    }
    Ok(missing)
}

/// How many of the directories above a file do not exist.
pub(super) fn missing_directories(file: &Path) -> usize {
    let above = file.ancestors().skip(1);
    above.take_while(|dir| !dir.exists()).count()
}

/// Replaces the text of a file in one step. The file keeps its permissions, its owner and its other names. Durable when
/// this returns.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    let metadata = match fs_err::metadata(file) {
        Ok(metadata) => Some(metadata),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e.into()),
    };
    if metadata.as_ref().is_some_and(|m| m.nlink() > 1) {
        return write_in_place(file, text);
    }
    let mode = metadata.as_ref().map_or(SECRET, |m| m.mode() & 0o7777);
    let new = prepare(file, text.as_bytes(), mode)?;
    let done =
        keep_owner(file, &new, metadata.as_ref()).and_then(|()| Ok(fs_err::rename(&new, file)?));
    if let Err(error) = done {
        let _ = remove_if_there(&new);
        return Err(error);
    }
    sync_directory(file)
}

/// Writes into the existing file. A file with several names must stay one file, so it cannot be replaced by another.
fn write_in_place(file: &Path, text: &str) -> Result<()> {
    let open = fs_err::OpenOptions::new().write(true).open(file)?;
    open.file().write_all_at(text.as_bytes(), 0)?;
    open.set_len(text.len() as u64)?;
    Ok(open.sync_all()?)
}

fn keep_owner(file: &Path, new: &Path, metadata: Option<&Metadata>) -> Result<()> {
    let Some(was) = metadata else { return Ok(()) };
    let is = fs_err::metadata(new)?;
    if (is.uid(), is.gid()) == (was.uid(), was.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(new, Some(was.uid()), Some(was.gid()))
        .about(|| format!("{}: cannot keep its owner", file.display()))
        .hint(|| format!("run this as user {}, who owns the file", was.uid()))?;
    // Changing the owner may have removed permissions.
    Ok(fs_err::set_permissions(new, was.permissions())?)
}

/// Removes a file. Durable when this returns.
pub(super) fn remove(file: &Path) -> Result<()> {
    remove_if_there(file)?;
    sync_directory(file)
}

/// Removes the `number` directories above a file, up to the first one that is not empty.
pub(super) fn remove_directories(file: &Path, number: usize) {
    let mut above = file.ancestors().skip(1).take(number);
    while above
        .next()
        .is_some_and(|dir| fs_err::remove_dir(dir).is_ok())
    {}
}

fn sync_directory(file: &Path) -> Result<()> {
    match file.parent() {
        Some(dir) => Ok(fs_err::File::open(dir)?.sync_all()?),
        None => Ok(()),
    }
}
