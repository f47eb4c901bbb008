//! Stopping: everything, or one unit so that it stays stopped.

use std::thread;
use std::time::{Duration, Instant};

use super::services::upholder;
use super::start::{start, start_target};
use crate::cluster::Current;
use crate::config::Target;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::services::{Service, UnitName, stop_order};
use crate::systemd::{Systemd, Unit};

/// All units together may take less time than this to end.
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
    // Units may have failed before, or by taking too long to end. systemd would list them as failed for ever, and the next
    // start could not tell old failures from new ones.
    systemd.reset_failed(&units)
}

/// Waits until no unit runs. Gives their last states.
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

/// Restarts one unit, or stops the whole cluster and starts it again.
pub fn restart(current: &Current, unit: Option<&UnitName>, progress: &Progress) -> Result<()> {
    current.check_in_place()?;
    let systemd = current.systemd()?;
    if let Some(unit) = unit {
        // Does it belong to this installation?
        systemd.units(&[unit])?;
        return systemd.run(["restart", unit.as_str()]);
    }
    let target = start_target(current)?;
    stop(&systemd, progress)?;
    start(current, Some(&target), progress)
}

/// Stops one unit so that it stays stopped. An active target would start its service again at once, so that target is
/// stopped as well, without its other services. RootlessKit stops together with everything, because everything runs inside
/// it.
pub fn stop_unit(systemd: &Systemd, unit: &UnitName, progress: &Progress) -> Result<()> {
    if Service::of_unit(unit.as_str()) == Some(Service::Rootlesskit) {
        progress.line("everything runs inside RootlessKit, so everything stops");
        return stop(systemd, progress);
    }
    // Does it belong to this installation?
    systemd.units(&[unit])?;
    if let Some(target) = upholder(unit.as_str()).map(Target::as_str)
        && systemd.units(&[target])?.iter().any(|u| !u.is_stopped())
    {
        // Its services are `PartOf=` it and would stop with it; this leaves them alone (seen with systemd 252).
        systemd.run(["stop", "--job-mode=ignore-dependencies", target])?;
        progress.line(format!(
            "stopped {target} as well, because it would start {unit} again at once; its other services keep running, but would not restart after a crash; `usernetes start` starts both again"
        ));
    }
    systemd.run(["stop", unit.as_str()])
}
