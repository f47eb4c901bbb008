//! Reading and writing the PKI's files: all new files complete on disk before the first one gets its name.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::plan::{Plan, Write};
use super::{MASTER, NODE, Report};
use crate::error::{Context as _, Error, Kind, Result};

/// Permissions of directories.
pub(super) const DIRECTORY: u32 = 0o700;
/// Permissions of private keys and of kubeconfigs, which contain one.
pub(super) const SECRET: u32 = 0o600;
/// Permissions of certificates and public keys.
pub(super) const PUBLIC: u32 = 0o644;

/// Text of a file, `None` if there is none. Bytes that are not UTF-8 are replaced: what looks at it finds no PEM then.
pub(super) fn read(file: &Path) -> Result<Option<String>> {
    match fs_err::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Does anybody but the owner have a right to it? `false` if it does not exist.
pub(super) fn open_to_others(path: &Path) -> Result<bool> {
    match fs_err::metadata(path) {
        Ok(meta) => Ok(meta.permissions().mode() & 0o077 != 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Keeps other processes from changing the PKI while it lives.
pub(super) struct Lock(fs_err::File);

/// Not by closing alone: a process that was forked off at this moment has the file too, until it executes something.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Makes the configuration directory and keeps other processes from changing the PKI below it while the lock lives.
pub(super) fn lock(config_dir: &Path) -> Result<Lock> {
    make_directory(config_dir)?;
    let path = config_dir.join(".pki.lock");
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, SECRET);
    let file = options.open(&path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(
            Kind::Busy,
            format!(
                "{}: another process is changing the certificates",
                config_dir.display()
            ),
        )
        .hint("wait until the other `usernetes` has finished, then run the command again")),
        Err(e) => Err(io::Error::from(e)).about(|| format!("cannot lock {}", path.display())),
    }
}

/// Does what was planned. Keys get their names before certificates, certificates before what is made of them, each
/// step durable before the next: whatever instant it ends at, the next plan starts from a state it understands.
pub(super) fn carry_out(config_dir: &Path, plan: Plan) -> Result<Report> {
    let Plan {
        remove,
        keys,
        certificates,
        copies,
        tighten,
        report,
    } = plan;
    for dir in [MASTER, NODE] {
        make_directory(&config_dir.join(dir))?;
    }
    let batches = [keys, certificates, copies];
    for write in batches.iter().flatten() {
        if let Err(error) = prepare(write) {
            for write in batches.iter().flatten() {
                let _ = fs_err::remove_file(temporary(&write.file));
            }
            return Err(error);
        }
    }
    for file in &remove {
        fs_err::remove_file(file)?;
    }
    for batch in batches.iter().filter(|b| !b.is_empty()) {
        for write in batch {
            fs_err::rename(temporary(&write.file), &write.file)?;
        }
        for dir in [MASTER, NODE] {
            fs_err::File::open(config_dir.join(dir))?.sync_all()?;
        }
    }
    for (path, mode) in &tighten {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
    }
    Ok(report)
}

/// Writes the content beside its final place and waits until it is on disk.
fn prepare(write: &Write) -> Result<()> {
    let temporary = temporary(&write.file);
    match fs_err::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, SECRET);
    let mut file = options.open(&temporary)?;
    file.write_all(write.text.as_bytes())?;
    file.set_permissions(std::fs::Permissions::from_mode(write.mode))?;
    file.sync_all()?;
    Ok(())
}

/// Where a file is written before it gets its name. One process at a time is here, so the name needs no more.
fn temporary(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    file.with_file_name(name)
}

/// Makes a directory, and those above it, if it is missing. A new one is its owner's alone, whatever the umask.
fn make_directory(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs_err::create_dir_all(parent)?;
    }
    DirBuilder::new()
        .mode(DIRECTORY)
        .create(dir)
        .about(|| format!("cannot make the directory `{}`", dir.display()))?;
    fs_err::set_permissions(dir, std::fs::Permissions::from_mode(DIRECTORY))?;
    Ok(())
}
