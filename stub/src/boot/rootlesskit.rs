//! Runs RootlessKit, which creates the namespaces that everything else runs in.

use std::io::{Error as IoError, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::{Here, NO_CGROUPS};
use crate::components::{self, Found as _};
use crate::config::Config;
use crate::driver;
use crate::error::{Context, Result};
use crate::files::remove_if_there;
use crate::layout::Layout;
use crate::process::notify::notify;
use crate::process::supervise::Supervisor;
use crate::process::{CHILD_PID, command, say};
use crate::protocol;
use crate::services::Service;
use crate::units::HOLD_OFF;

/// Runs RootlessKit to its end and returns its exit code. RootlessKit runs `boot rootlesskit-child` inside the namespaces.
///
/// If RootlessKit ends soon after its start without being asked to, this process waits before it exits, so that it has run
/// for [`HOLD_OFF`] altogether.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    fs::create_dir_all(layout.rootlesskit())?;
    // A RootlessKit that was killed leaves these files behind, and other processes would read wrong facts from them.
    for stale in [CHILD_PID, "api.sock"] {
        remove_if_there(&layout.rootlesskit().join(stale))?;
    }
    driver::prepare(layout, config)?;
    let here = Here { layout, config };
    let mut args = components::start(Service::Rootlesskit, layout, config, &here)?.args;
    args.extend([
        layout.program("usernetes").display().to_string(),
        protocol::BOOT.to_owned(),
        protocol::ROOTLESSKIT_CHILD.to_owned(),
    ]);
    let started = Instant::now();
    let mut supervisor = Supervisor::new()?;
    let mut rootlesskit = command(layout, args);
    if !here.divides_cgroup() {
        rootlesskit.env(NO_CGROUPS, "1");
    }
    let outcome = supervisor.run(rootlesskit, |_| ());
    driver::end(layout);
    driver::failure(layout).iter().for_each(say);
    let asked = outcome.as_ref().is_ok_and(|outcome| outcome.asked);
    if let Some(rest) = HOLD_OFF.checked_sub(started.elapsed()).filter(|_| !asked) {
        say(format!(
            "RootlessKit exited too soon; retrying in {} s",
            rest.as_secs()
        ));
        // If RootlessKit was ready, the service manager must learn that it has ended, although this process still runs.
        notify("STOPPING=1")?;
        supervisor.wait_for_end_at_most(rest);
    }
    Ok(outcome?.code)
}

/// Waits until RootlessKit has published the ports and written the PID of its child. This happens a moment after it has
/// started the child, which calls this function.
pub(super) fn wait_complete(layout: &Layout) -> Result<()> {
    let file = layout.rootlesskit().join(CHILD_PID);
    let started = Instant::now();
    while !file.exists() {
        if started.elapsed() > Duration::from_mins(1) {
            return Err(IoError::from(ErrorKind::TimedOut))
                .about(|| format!("RootlessKit did not write `{}`", file.display()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
