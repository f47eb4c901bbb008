//! Reads and writes the files of the PKI. All new files are completely on disk before the first one gets its name.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::plan::{Plan, Write};
use super::{Ensured, LOCK, MASTER, NODE};
use crate::error::Result;
pub(super) use crate::files::PRIVATE as DIRECTORY;
use crate::files::{New, or_remove_all, prepare_all, private_directory, temporary};
use crate::lock::Lock;

/// Permissions of private keys, and of kubeconfigs, which contain a private key.
pub(super) const SECRET: u32 = 0o600;
/// Permissions of certificates and public keys.
pub(super) const PUBLIC: u32 = 0o644;

/// The text of a file; `None` if the file does not exist. Bytes that are not UTF-8 are replaced. The caller then finds no
/// PEM in the text and reports that.
pub(super) fn read(file: &Path) -> Result<Option<String>> {
    match fs_err::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Whether anybody but the owner has access to it. `false` if it does not exist.
pub(super) fn open_to_others(path: &Path) -> Result<bool> {
    match fs_err::metadata(path) {
        Ok(meta) => Ok(meta.permissions().mode() & 0o077 != 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Creates the configuration directory, and keeps other processes from changing the PKI in it until the lock is dropped.
pub(super) fn lock(config_dir: &Path) -> Result<Lock> {
    private_directory(config_dir)?;
    Lock::take(&config_dir.join(LOCK), "the certificates")
}

/// Carries out a plan. Keys get their names first, then certificates, then the files made from certificates. Each step is
/// durable before the next begins. If the process is killed at any point, the next plan can continue from there.
pub(super) fn carry_out(config_dir: &Path, plan: Plan) -> Result<Ensured> {
    let Plan {
        remove,
        keys,
        certificates,
        copies,
        tighten,
        report,
    } = plan;
    for dir in [MASTER, NODE] {
        private_directory(&config_dir.join(dir))?;
    }
    let batches = [keys, certificates, copies];
    let new = batches.iter().flatten().map(|write| New {
        path: &write.file,
        bytes: write.text.as_bytes(),
        mode: write.mode,
    });
    let new = new.collect::<Vec<_>>();
    prepare_all(&new)?;
    or_remove_all(&new, put_in_place(config_dir, &remove, &batches))?;
    for (path, mode) in &tighten {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
    }
    Ok(report)
}

/// Removes files, and gives prepared ones their names, one batch after the other.
fn put_in_place(config_dir: &Path, remove: &[PathBuf], batches: &[Vec<Write>]) -> Result<()> {
    for file in remove {
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
    Ok(())
}
