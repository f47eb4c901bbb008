//! Stopping: everything, or one unit so that it stays stopped.

use std::thread;
use std::time::{Duration, Instant};

use super::services::upholder;
use crate::config::Target;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::services::{Service, UnitName, stop_order};
use crate::systemd::{Systemd, Unit};

/// Longer than all units together may take to end.
const PATIENCE: Duration = Duration::from_mins(3);
const INTERVAL: Duration = Duration::from_millis(200);

/// Stops everything and waits until nothing runs any more. systemd keeps the order the units ask for: nodes before the
/// API server before etcd before RootlessKit.
pub fn stop(systemd: &Systemd, progress: &Progress) -> Result<()> {
    let order = stop_order();
    let mut units = systemd.units(&order)?;
    let running: Vec<_> = units
        .iter()
        .filter(|u| !u.is_stopped())
        .map(Unit::name)
        .collect();
    if !running.is_empty() {
        systemd.run(["stop", "--no-block"].into_iter().chain(running))?;
        units = wait_for_end(systemd, &order, progress)?;
    }
    // Before, or by taking too long to end. Otherwise they would be listed as such for ever, and the next start
    // could not tell whose failure it is.
    systemd.reset_failed(&units)
}

/// Gives the units as they are then.
fn wait_for_end(systemd: &Systemd, order: &[UnitName], progress: &Progress) -> Result<Vec<Unit>> {
    let wait = progress.wait("stop");
    let started = Instant::now();
    loop {
        let units = systemd.units(order)?;
        let running: Vec<_> = units.iter().filter(|u| !u.is_stopped()).collect();
        let Some(first) = running.first() else {
            wait.finish("everything has stopped");
            return Ok(units);
        };
        wait.say(&format!("{} {}", first.name(), first.state()));
        if started.elapsed() > PATIENCE {
            let names: Vec<_> = running.iter().map(|u| u.name()).collect();
            return Err(Error::new(
                Kind::Failed,
                format!(
                    "still running after {} s: {}",
                    PATIENCE.as_secs(),
                    names.join(", ")
                ),
            )
            .hint(format!(
                "`systemctl --user kill --signal=KILL {}`",
                names.join(" ")
            )));
        }
        thread::sleep(INTERVAL);
    }
}

/// Stops one unit so that it stays stopped: a service whose target is active would be back at once. So that target is
/// stopped as well, but none of its other services. Everything runs inside RootlessKit, so with it everything stops.
pub fn stop_unit(systemd: &Systemd, unit: &UnitName, progress: &Progress) -> Result<()> {
    if Service::of_unit(unit.as_str()) == Some(Service::Rootlesskit) {
        progress.line("everything runs inside RootlessKit, so everything stops");
        return stop(systemd, progress);
    }
    // Is it one of this installation?
    systemd.units(&[unit])?;
    if let Some(target) = upholder(unit.as_str()).map(Target::as_str)
        && systemd.units(&[target])?.iter().any(|u| !u.is_stopped())
    {
        // Its services are `PartOf=` it and would stop with it; this leaves them alone (seen with systemd 252).
        systemd.run(["stop", "--job-mode=ignore-dependencies", target])?;
        progress.line(format!(
            "{target} would start {unit} again at once, so it is stopped, too; what else belongs to it goes on running, but would not come back after a crash; `usernetes start` brings both back"
        ));
    }
    systemd.run(["stop", unit.as_str()])
}
