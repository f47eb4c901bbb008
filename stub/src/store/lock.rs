//! The lock that keeps two processes from changing the store at once.

use std::fs::TryLockError;
use std::io::Write;
use std::path::Path;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::{Error, Kind, Result};

/// Held until dropped, and by nobody any more when its process is gone, however it went.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or fails at once when another process holds it. Writes the own process id into the file.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(path)),
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { file })
    }
}

/// Closing the file is not enough: a process forked meanwhile shares it until it executes a program.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn busy(path: &Path) -> Error {
    let holder = fs_err::read_to_string(path).unwrap_or_default();
    let holder = match holder.trim() {
        "" => "unknown",
        pid => pid,
    };
    Error::new(
        Kind::Busy,
        "another `usernetes` is changing the store right now",
    )
    .detail("lock", path.display())
    .detail("process", holder)
    .hint("wait until it has ended, then run the same command again")
}
