//! The `usernetes run` of a data directory: that there is at most one, and how others find it.
//!
//! It holds a lock in the data directory, which every command finds, whatever session it is called in. Beside the lock
//! lies a file that says where the run's sockets are.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::files::{remove_if_there, replace};
use crate::host::Machine;
use crate::paths::PROJECT;

const LOCK: &str = "run.lock";
const FILE: &str = "run.json";

/// The runtime directory of a run where the session has none that lasts: the base of it, in the data directory.
const OWN_BASE: &str = "run";

/// Whoever only looks holds the lock for a moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a run says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its process.
    pub pid: u32,
    /// The name of the machine it is on, which may be another one where the home is on a network.
    pub host: String,
    /// The kernel's id of that machine's boot.
    pub boot: String,
    /// The directory in the place of `$XDG_RUNTIME_DIR`.
    pub base: PathBuf,
}

/// The right to run the services of a data directory. Given up when it is dropped or its process ends.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    _lock: fs::File,
}

impl Claim {
    /// Claims a data directory, which must exist. Fails if a run has claimed it.
    pub fn take(dir: &Path) -> Result<Self> {
        let began = Instant::now();
        loop {
            let lock = open(dir)?;
            match lock.file().try_lock() {
                Ok(()) => {
                    // What a run that was killed has left.
                    remove_if_there(&dir.join(FILE))?;
                    return Ok(Self {
                        dir: dir.to_owned(),
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(runs(dir)),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::from(error)
                        .about(dir.join(LOCK).display())
                        .hint("set XDG_DATA_HOME to a directory on a local disk"));
                }
            }
        }
    }

    /// Tells others where to find this run, on this machine, whose sockets are below `base`.
    pub fn announce(&self, machine: &Machine, base: &Path) -> Result<()> {
        let session = Session {
            pid: std::process::id(),
            host: machine.host_name(),
            boot: machine.boot_id(),
            base: base.to_owned(),
        };
        let text = serde_json::to_string(&session).map_err(std::io::Error::from)?;
        replace(&self.dir.join(FILE), format!("{text}\n").as_bytes(), 0o600)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = remove_if_there(&self.dir.join(FILE));
    }
}

impl Session {
    /// The run that has claimed a data directory and announced itself; `None` if there is none.
    pub fn of(dir: &Path) -> Result<Option<Self>> {
        if !is_claimed(dir) {
            return Ok(None);
        }
        let Some(text) = read_if_there(&dir.join(FILE))? else {
            return Ok(None);
        };
        Ok(serde_json::from_str(&text).ok())
    }

    /// The run's own directory: sockets, and the files that `boot` writes.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.base.join(PROJECT)
    }

    /// Fails if the run is on another machine than this one.
    pub fn check_here(&self, machine: &Machine) -> Result<()> {
        if self.boot == machine.boot_id() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Host,
            "the cluster is running under `usernetes run` on another machine",
        )
        .expected(machine.host_name())
        .found(format!("process {} on {}", self.pid, self.host))
        .hint("run the same command there"))
    }
}

/// Whether a run has claimed a data directory, announced or not.
#[must_use]
pub fn is_claimed(dir: &Path) -> bool {
    let file = fs::OpenOptions::new().read(true).open(dir.join(LOCK));
    file.is_ok_and(|file| matches!(file.file().try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The directory in the place of `$XDG_RUNTIME_DIR` for a run with this data directory. That of a login is taken away
/// with its last session, unless the user lingers, but a run outlives its session.
#[must_use]
pub fn base(machine: &Machine, data: &Path) -> PathBuf {
    let given = machine.runtime_dir.as_deref().filter(|dir| {
        let lasts = **dir != machine.usual_session_dir() || machine.lingers();
        lasts && machine.session_dir().as_deref() == Some(*dir)
    });
    given.map_or_else(|| data.join(OWN_BASE), Path::to_owned)
}

fn open(dir: &Path) -> Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    Ok(options.open(dir.join(LOCK))?)
}

/// The error for a data directory that is claimed.
pub(crate) fn runs(dir: &Path) -> Error {
    let error = Error::new(Kind::Busy, "the cluster is running under `usernetes run`")
        .detail("data", dir.display());
    let session = read_if_there(&dir.join(FILE)).ok().flatten();
    let session = session.and_then(|text| serde_json::from_str::<Session>(&text).ok());
    match session {
        Some(session) => error
            .detail("process", format!("{} on {}", session.pid, session.host))
            .hint("stop it first with `usernetes stop`, or end that process with SIGTERM"),
        None => error
            .hint("it is just starting or ending: wait a moment, then run the same command again"),
    }
}
