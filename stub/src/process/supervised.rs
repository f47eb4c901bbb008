//! The first moments of a service that `usernetes run` has started: into its cgroup, and bound to the life of its
//! supervisor. A unit of systemd needs none of this, because systemd has done it.

use std::env;
use std::path::Path;

use fs_err as fs;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::error::{Context as _, Error, Kind, Result};

/// The process that supervises, for the service.
pub(crate) const SUPERVISOR: &str = "USERNETES_SUPERVISOR";

/// The cgroup of the service, for the service. Not set where no cgroup can be made.
pub(crate) const CGROUP: &str = "USERNETES_CGROUP";

/// Whether this process was started by `usernetes run`. If it was, it is in its own cgroup afterwards, and is asked to end when
/// the supervisor dies.
pub(crate) fn begin() -> Result<bool> {
    let Some(supervisor) = env::var_os(SUPERVISOR) else {
        return Ok(false);
    };
    if let Some(cgroup) = env::var_os(CGROUP) {
        fs::write(Path::new(&cgroup).join("cgroup.procs"), "0")
            .about(|| "entering the cgroup of the service")?;
    }
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(std::io::Error::from)?;
    // It may have died before this process could ask to be told.
    let parent = getppid().map(|pid| pid.to_string());
    if parent.as_deref() == supervisor.to_str() {
        return Ok(true);
    }
    Err(Error::new(
        Kind::Failed,
        "`usernetes run`, which started this service, has ended",
    )
    .hint("start it again with `usernetes run`"))
}
