//! The locks by which kubectl and this program keep out of each other's way: a file `NAME.lock` beside a kubeconfig.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::{Error, Kind, Result};

/// How long to wait for another process: it holds such a lock for as long as it takes to write a small file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Held while locks are. Signals that end the process wait for it, so that none of the locks outlives the process.
static HOLDING: Mutex<()> = Mutex::new(());

/// Locks of kubeconfigs, all of which are given back when this is dropped.
pub(super) struct Locks {
    files: Vec<PathBuf>,
    _holding: MutexGuard<'static, ()>,
}

impl Locks {
    /// Takes the locks of these files, whose directories exist. [`Kind::Busy`] if another process keeps one of them.
    pub(super) fn take<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        defer_signals()?;
        let mut locks = Self {
            files: Vec::new(),
            _holding: hold(),
        };
        // kubectl sorts them, too: two processes that take them in one order cannot wait for each other.
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

/// Makes a lock, with a text that says who holds it. kubectl's own are empty.
fn make(lock: &Path) -> io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(lock)?;
    // The lock works without the text, too.
    let _ = writeln!(file, "usernetes {}", std::process::id());
    Ok(())
}

/// From now on a signal that asks this process to end does so only when no lock is held.
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

/// Signals that this process was told to ignore when it was started, by `nohup` for example: one bit for each.
fn ignored_signals() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// The error that a lock is held, with its holder as far as that is known.
fn busy(file: &Path, lock: &Path) -> Error {
    let holder = fs_err::read_to_string(lock).unwrap_or_default();
    let process = holder.trim().strip_prefix("usernetes ");
    let (by, gone) = match process {
        Some(process) if Path::new("/proc").join(process).exists() => {
            (format!("process {process}, a `usernetes`"), false)
        }
        Some(process) => (
            format!("process {process}, a `usernetes` that has ended"),
            true,
        ),
        None => (
            "a program that left no name in it, as kubectl does".to_owned(),
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
        format!("remove the lock that was left behind: {remove}")
    } else {
        format!(
            "wait for it; if no such program is running any more, remove the lock with {remove}"
        )
    })
}

/// How long ago a file was made.
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
