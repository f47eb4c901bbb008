//! Locks that keep two processes from changing the same files at the same time.

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;

use crate::error::{Context as _, Error, Kind, Result};
use crate::files::has_no_locks;
use crate::paths::At as _;
use crate::progress::Progress;
use crate::protocol::{BACKUP, CERTS, DEFRAGMENT, DUE, RENEW, SCHEDULED};

/// A lock. It is held until it is dropped or its process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock and writes the PID of this process into the file. Fails at once if another process holds the lock, unless
    /// that is a command of a timer: then this says so and waits for its end, but not for ever. The error says that the other
    /// process is changing `what`.
    pub(crate) fn take(path: &Path, what: &str) -> Result<Self> {
        let lock = Self::hold(path, what)?;
        lock.sign()?;
        Ok(lock)
    }

    /// Takes the lock as [`take`](Self::take) does, but does not write the PID.
    pub(crate) fn hold(path: &Path, what: &str) -> Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path).at(path)?;
        let started = Instant::now();
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(path);
                    if started.elapsed() >= PATIENCE || !is_timers(&holder) {
                        return Err(busy(path, what, &holder));
                    }
                    if !said {
                        said = true;
                        Progress::stderr().line(format!(
                            "wait for process {holder}, which a timer has started, to end: it is changing {what}"
                        ));
                    }
                    thread::sleep(MOMENT);
                }
                Err(TryLockError::Error(error)) => return Err(failure(path, what, error)),
            }
        }
    }

    /// Writes the PID of this process into the file.
    pub(crate) fn sign(&self) -> Result<()> {
        self.file.set_len(0)?;
        let text = format!("{}\n", std::process::id());
        let written = self.file.file().write_all_at(text.as_bytes(), 0);
        written.about(|| self.file.path().display())
    }
}

/// Releases the lock. Closing the file would not be enough, because a child process shares it from its fork until it executes
/// a program. The PID is removed so that nobody takes it for the PID of the next holder.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|m| m.len() > 0) {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.unlock();
    }
}

/// How long a timer's command waits for another command, and the other way round. The unit's time limits are longer.
const PATIENCE: Duration = Duration::from_mins(9);
/// How often a timer's command tries again.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often another command tries again.
const MOMENT: Duration = Duration::from_millis(200);
/// The words on the command lines of timers' commands. Nobody has started these by hand and knows to wait.
const TIMERS: [&[&str]; 3] = [&[CERTS, RENEW, DUE], &[BACKUP, SCHEDULED], &[DEFRAGMENT]];

/// Does what a timer asks for. A timer may elapse while the user installs or upgrades: then this waits for the other command,
/// because the timer's next time may be tomorrow.
pub(crate) fn in_turn<T>(deed: impl FnMut() -> Result<T>) -> Result<T> {
    repeat_while_busy(PATIENCE, INTERVAL, deed)
}

fn repeat_while_busy<T>(
    patience: Duration,
    interval: Duration,
    mut deed: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match deed() {
            Err(error) if error.kind() == Kind::Busy && started.elapsed() < patience => {
                thread::sleep(interval);
            }
            result => return result,
        }
    }
}

/// The error for a lock that was not taken. On a file system without locks, nothing is changed: two processes could remove
/// each other's new files, and etcd and containerd need locks in the same directory.
fn failure(path: &Path, what: &str, error: io::Error) -> Error {
    if !has_no_locks(&error) {
        return Error::from(error).about(path.display());
    }
    Error::new(
        Kind::Host,
        format!(
            "{}: the file system does not support locks, without which {what} cannot be changed safely",
            path.display()
        ),
    )
    .expected("a file system with flock(2)")
    .found(error)
    .hint("set XDG_DATA_HOME and XDG_CONFIG_HOME to directories on a local disk; on NFS, an administrator can start the lock service (`rpc.statd`), or mount it with `local_lock=flock`")
}

/// The PID of the process that holds a lock; empty if it has not written it.
fn holder(path: &Path) -> String {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// Whether a process is a command of a timer.
fn is_timers(pid: &str) -> bool {
    let line = pid
        .parse::<u32>()
        .ok()
        .and_then(|pid| fs_err::read(format!("/proc/{pid}/cmdline")).ok())
        .unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).collect();
    TIMERS.iter().any(|timers| {
        words
            .windows(timers.len())
            .any(|words| words.iter().zip(*timers).all(|(a, b)| *a == b.as_bytes()))
    })
}

fn busy(path: &Path, what: &str, holder: &str) -> Error {
    let holder = if holder.is_empty() { "unknown" } else { holder };
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
    fn a_timers_command_waits_for_another_command() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        let mut other = Some(Lock::take(&file, "the store").unwrap());
        let mut tries = 0;
        let moment = Duration::from_millis(1);
        repeat_while_busy(Duration::MAX, moment, || {
            tries += 1;
            if tries == 3 {
                other = None;
            }
            Lock::take(&file, "the store")
        })
        .unwrap();
        assert_eq!(tries, 3);
        // Not for ever, and not because of anything else.
        let _other = Lock::take(&file, "the store").unwrap();
        let error = repeat_while_busy(Duration::ZERO, moment, || Lock::take(&file, "the store"));
        assert_eq!(error.unwrap_err().kind(), Kind::Busy);
        let no_directory = dir.path().join("missing/lock");
        let error = repeat_while_busy(Duration::MAX, moment, || Lock::take(&no_directory, "x"));
        assert_ne!(error.unwrap_err().kind(), Kind::Busy);
    }

    #[test]
    fn the_error_for_a_file_system_without_locks_has_a_hint() {
        let refused = |errno: Errno| failure(Path::new("/home/u/lock"), "the store", errno.into());
        for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
            assert_eq!(refused(errno).kind(), Kind::Host);
        }
        insta::assert_snapshot!(refused(Errno::NOSYS), @r"
        /home/u/lock: the file system does not support locks, without which the store cannot be changed safely
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
