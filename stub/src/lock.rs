//! Locks that keep two processes from changing the same thing at once.

use std::fs::TryLockError;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::{Error, Kind, Result};
use crate::files::has_no_locks;
use crate::paths::At as _;

/// Held until it is dropped or its process ends, however that happens.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock and writes this process's id into the file. Fails at once if another process holds the lock; the
    /// error says that that process is changing `what`.
    pub(crate) fn take(path: &Path, what: &str) -> Result<Self> {
        let lock = Self::hold(path, what)?;
        lock.sign()?;
        Ok(lock)
    }

    /// Takes the lock as [`take`](Self::take) does, but changes nothing if the file is there.
    pub(crate) fn hold(path: &Path, what: &str) -> Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path).at(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(refused) => Err(failure(path, what, refused)).at(path),
        }
    }

    /// Writes the own process id into the file.
    pub(crate) fn sign(&self) -> Result<()> {
        self.file.set_len(0)?;
        let text = format!("{}\n", std::process::id());
        Ok(self.file.file().write_all_at(text.as_bytes(), 0)?)
    }
}

/// Closing the file is not enough: a process forked meanwhile shares it until it executes a program. The id in
/// the file must not be taken for that of the next holder.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|m| m.len() > 0) {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.unlock();
    }
}

/// The error for a lock that was not taken. Without locks nothing is changed: two processes could remove each other's new
/// files, and etcd and containerd lock their own files in the same directory.
fn failure(path: &Path, what: &str, refused: TryLockError) -> Error {
    match refused {
        TryLockError::WouldBlock => busy(path, what),
        TryLockError::Error(error) if has_no_locks(&error) => Error::new(
            Kind::Host,
            format!(
                "{}: the file system has no locks, without which {what} cannot be changed safely",
                path.display()
            ),
        )
        .expected("a file system with flock(2)")
        .found(error)
        .hint("set XDG_DATA_HOME and XDG_CONFIG_HOME to directories on a local disk; on NFS, an administrator can start the lock service (`rpc.statd`), or mount it with `local_lock=flock`"),
        TryLockError::Error(error) => Error::from(error).about(path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_file_system_without_locks_is_named_with_the_way_out() {
        let refused = |errno: Errno| {
            let error = TryLockError::Error(errno.into());
            failure(Path::new("/home/u/lock"), "the store", error)
        };
        for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
            assert_eq!(refused(errno).kind(), Kind::Host);
        }
        insta::assert_snapshot!(refused(Errno::NOSYS), @r"
        /home/u/lock: the file system has no locks, without which the store cannot be changed safely
          expected  a file system with flock(2)
          found     Function not implemented (os error 38)

        hint: set XDG_DATA_HOME and XDG_CONFIG_HOME to directories on a local disk; on NFS, an administrator can start the lock service (`rpc.statd`), or mount it with `local_lock=flock`
        ");
        insta::assert_snapshot!(refused(Errno::IO), @r"
        /home/u/lock: Input/output error (os error 5)

        hint: the disk or its driver reports a fault: look at `dmesg`, and save what is on that disk
        ");
    }
}
