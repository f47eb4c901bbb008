//! The locks with which kubectl and this program avoid changing a kubeconfig at the same time: a file `NAME.lock` beside
//! it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::{Error, Kind, Result};

/// How long to wait for another process. It holds a lock only while it writes a small file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Held while the process has locks. A signal that ends the process waits for it, so that no lock is left behind.
static HOLDING: Mutex<()> = Mutex::new(());

/// The locks of kubeconfigs. All are released when this is dropped.
pub(super) struct Locks {
    files: Vec<PathBuf>,
    _holding: MutexGuard<'static, ()>,
}

impl Locks {
    /// Takes the locks of these files. Their directories must exist. [`Kind::Busy`] if another process holds one of them.
    pub(super) fn take<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        defer_signals()?;
        let mut locks = Self {
            files: Vec::new(),
            _holding: hold(),
        };
        // kubectl sorts them, too. Two processes that take them in the same order cannot wait for each other.
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_unstable();
        files.dedup();
        let started = Instant::now();
        for file in files {
            let lock = lock_of(file);
            while let Err(error) = make(&lock) {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    return Err(error.into());
                }
                if started.elapsed() > PATIENCE {
                    return Err(busy(file, &lock));
                }
                thread::sleep(Duration::from_millis(20));
            }
            locks.files.push(lock);
        }
        Ok(locks)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs_err::remove_file(file);
        }
    }
}

fn hold() -> MutexGuard<'static, ()> {
    HOLDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Creates a lock with a text that names the process. kubectl creates empty locks.
fn make(lock: &Path) -> io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(lock)?;
    // The lock is valid without the text, too.
    let _ = writeln!(file, "usernetes {}", std::process::id());
    Ok(())
}

/// From now on, a signal that asks this process to end takes effect only while no lock is held.
fn defer_signals() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = start_deferring());
    Ok(result?)
}

fn start_deferring() -> io::Result<()> {
    let ignored = ignored_signals();
    let wanted = [SIGHUP, SIGINT, SIGTERM]
        .into_iter()
        .filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            let _holding = hold();
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// The signals that this process was told to ignore when it was started, for example by `nohup`, as one bit for each.
fn ignored_signals() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// The error for a lock that another process holds. It names that process, if known.
fn busy(file: &Path, lock: &Path) -> Error {
    let holder = fs_err::read_to_string(lock).unwrap_or_default();
    let process = holder.trim().strip_prefix("usernetes ");
    let (by, gone) = match process {
        Some(process) if Path::new("/proc").join(process).exists() => {
            (format!("process {process}, which runs `usernetes`"), false)
        }
        Some(process) => (
            format!("process {process}, which ran `usernetes` and has ended"),
            true,
        ),
        None => (
            "a program that did not write its name into it, such as kubectl".to_owned(),
            false,
        ),
    };
    let remove = format!("`rm {}`", lock.display());
    let error = Error::new(
        Kind::Busy,
        format!("{}: another process is changing this file", file.display()),
    )
    .found(format!("its lock `{}`", lock.display()))
    .detail("made by", by)
    .detail("made", age(lock));
    error.hint(if gone {
        format!("that process left the lock behind; remove it with {remove}")
    } else {
        format!(
            "wait until that program has finished; if it is no longer running, remove the lock with {remove}"
        )
    })
}

/// How long ago a file was changed, for people to read.
fn age(file: &Path) -> String {
    let made = fs_err::metadata(file).and_then(|m| m.modified());
    let age = made
        .ok()
        .and_then(|made| SystemTime::now().duration_since(made).ok());
    match age.map_or(0, |age| age.as_secs()) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} minutes ago", seconds / 60),
        seconds => format!("{} hours ago", seconds / 3600),
    }
}
