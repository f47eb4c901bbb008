//! Locks that keep two processes from changing the same thing at once.

use std::fs::TryLockError;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::{Context as _, Error, Kind, Result};

/// Held until dropped, and by nobody any more when its process is gone, however it went.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or fails at once when another process holds it, which is changing `what` then. Writes the own
    /// process id into the file.
    pub(crate) fn take(path: &Path, what: &str) -> Result<Self> {
        let lock = Self::hold(path, what)?;
        lock.sign()?;
        Ok(lock)
    }

    /// Takes the lock as [`take`](Self::take) does, but changes nothing if the file is there.
    pub(super) fn hold(path: &Path, what: &str) -> Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path).at(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(busy(path, what)),
            Err(TryLockError::Error(e)) => Err(e)
                .about(|| format!("failed to lock `{}`", path.display()))
                .at(path),
        }
    }

    /// Writes the own process id into the file.
    pub(super) fn sign(&self) -> Result<()> {
        self.file.set_len(0)?;
        let text = format!("{}\n", std::process::id());
        Ok(self.file.file().write_all_at(text.as_bytes(), 0)?)
    }
}

/// Closing the file is not enough: a process forked meanwhile shares it until it executes a program. Who signed must
/// not be taken for the next holder.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|m| m.len() > 0) {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.unlock();
    }
}

fn busy(path: &Path, what: &str) -> Error {
    let holder = fs_err::read_to_string(path).unwrap_or_default();
    let holder = match holder.trim() {
        "" => "unknown",
        pid => pid,
    };
    Error::new(
        Kind::Busy,
        format!("another `usernetes` is changing {what} right now"),
    )
    .detail("lock", path.display())
    .detail("process", holder)
    .hint("wait until it has ended, then run the same command again")
}
