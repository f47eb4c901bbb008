//! The locks with which kubectl and this program avoid changing a kubeconfig at the same time: a file `NAME.lock` beside
//! it.
//!
//! A lock of ours names its process, and that process holds the file with flock(2). So if it was killed, the next one sees that
//! nobody holds the lock any more, and removes it. kubectl's locks are empty, and nobody can tell whether they are held.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::{Error, Kind, Result};

/// How long to wait for another process. It holds a lock only while it writes a small file.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends the text of a lock that its process holds with flock(2). Earlier releases did not.
const HELD: &str = " holds it";

/// Held while the process has locks. A signal that ends the process waits for it, so that no lock is left behind.
static HOLDING: Mutex<()> = Mutex::new(());

/// The locks of kubeconfigs. All are released when this is dropped.
pub(super) struct Locks {
    files: Vec<(PathBuf, File)>,
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
            let held = loop {
                match make(&lock) {
                    Ok(held) => break held,
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error.into());
                    }
                    Err(_) => {}
                }
                if remove_if_dead(&lock) {
                    continue;
                }
                if started.elapsed() > PATIENCE {
                    return Err(busy(file, &lock));
                }
                thread::sleep(Duration::from_millis(20));
            };
            locks.files.push((lock, held));
        }
        Ok(locks)
    }

    /// Removes the lock of a file if a process of ours has left it which was killed.
    pub(super) fn remove_dead(file: &Path) {
        remove_if_dead(&lock_of(file));
    }

    /// Releases the locks. Fails if one of them cannot be removed: kubectl would wait for it.
    pub(super) fn release(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        // Before the files are closed: until then, nobody else takes the locks for dead.
        let mut first = Ok(());
        for (file, _held) in self.files.drain(..) {
            first = first.and(fs_err::remove_file(file));
        }
        Ok(first?)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        // Another error led here, and is the one to report.
        let _ = self.remove();
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

/// Creates a lock with a text that names the process, and holds it. It appears with both or not at all, where the file system
/// can do that.
fn make(lock: &Path) -> io::Result<File> {
    let directory = lock.parent().unwrap_or(lock);
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let nameless = openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR)
        .ok()
        .map(|file| File::from_parts(file.into(), lock));
    if let Some(file) = nameless {
        sign(&file);
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        match linkat(CWD, own, CWD, lock, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) => return Ok(file),
            // Some file systems and sandboxes do not let such a file have a name.
            Err(_) => {}
        }
    }
    let mut options = fs_err::OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(lock)?;
    sign(&file);
    Ok(file)
}

/// The lock is valid without the text, and without flock(2), too. Then only people can tell that it is dead.
fn sign(file: &File) {
    let held = if file.try_lock().is_ok() { HELD } else { "" };
    let _ = writeln!(&mut file.file(), "usernetes {}{held}", std::process::id());
}

/// Removes a lock of ours if the process that made it holds it no longer. Gives whether it was removed.
fn remove_if_dead(lock: &Path) -> bool {
    let Ok(mut file) = fs_err::OpenOptions::new().read(true).write(true).open(lock) else {
        return false;
    };
    let mut text = String::new();
    let ours = file.read_to_string(&mut text).is_ok()
        && text.starts_with("usernetes ")
        && text.trim_end().ends_with(HELD);
    // Whoever holds the file may remove it. Meanwhile, another process may have done so and made a new one.
    let same = || match (file.metadata(), fs_err::metadata(lock)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    };
    ours && file.try_lock().is_ok() && same() && fs_err::remove_file(lock).is_ok()
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
    let process = process.map(|process| process.trim_end_matches(HELD));
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
