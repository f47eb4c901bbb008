//! Stopping: everything, or one unit so that it stays stopped.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::services::upholder;
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::manager::{Direct, Manager, is_claimed, runs};
use crate::progress::Progress;
use crate::services::{Service, UnitName, stop_order};
use crate::systemd::Unit;

/// Longer than all units together may take to end.
const PATIENCE: Duration = Duration::from_mins(3);
const INTERVAL: Duration = Duration::from_millis(200);

/// Stops everything and waits until nothing runs any more. systemd keeps the order the units ask for: nodes before the
/// API server before etcd before RootlessKit.
pub fn stop(manager: &dyn Manager, progress: &Progress) -> Result<()> {
    let order = stop_order();
    let mut units = manager.units(&order)?;
    let running: Vec<_> = units
        .iter()
        .filter(|u| !u.is_stopped())
        .map(Unit::name)
        .collect();
    if !running.is_empty() {
        manager.stop(&running)?;
        units = wait_for_end(manager, &order, progress)?;
    }
    // Before, or by taking too long to end. Otherwise they would be listed as such for ever, and the next start
    // could not tell whose failure it is.
    manager.reset_failed(&units)
}

/// Ends the `usernetes run` of a data directory with everything it runs, and waits for that. Gives whether there was one.
pub fn end_run(machine: &Machine, data: &Path, progress: &Progress) -> Result<bool> {
    let Some(direct) = Direct::of(machine, data)? else {
        if is_claimed(data) {
            return Err(runs(data));
        }
        return Ok(false);
    };
    direct.end()?;
    let wait = progress.wait("stop");
    wait.say(&format!("`usernetes run`, process {}", direct.pid()));
    let began = Instant::now();
    while is_claimed(data) {
        if began.elapsed() > PATIENCE {
            return Err(runs(data).detail("waited", format!("{} s", PATIENCE.as_secs())));
        }
        thread::sleep(INTERVAL);
    }
    wait.finish("everything has stopped, and `usernetes run` has ended");
    Ok(true)
}

/// Gives the units as they are then.
fn wait_for_end(
    manager: &dyn Manager,
    order: &[UnitName],
    progress: &Progress,
) -> Result<Vec<Unit>> {
    let wait = progress.wait("stop");
    let started = Instant::now();
    loop {
        let units = manager.units(order)?;
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
            .hint(format!("`{}`", manager.kill_by_hand(&names))));
        }
        thread::sleep(INTERVAL);
    }
}

/// Stops one unit so that it stays stopped: a service whose target is active would be back at once. So that target is
/// stopped as well, but none of its other services. Everything runs inside RootlessKit, so with it everything stops.
pub fn stop_unit(manager: &dyn Manager, unit: &UnitName, progress: &Progress) -> Result<()> {
    if Service::of_unit(unit.as_str()) == Some(Service::Rootlesskit) {
        progress.line("everything runs inside RootlessKit, so everything stops");
        return stop(manager, progress);
    }
    // Is it one of this installation?
    manager.units(std::slice::from_ref(unit))?;
    if let Some(target) = upholder(unit.as_str())
        && manager
            .units(&[UnitName::target(target)])?
            .iter()
            .any(|u| !u.is_stopped())
    {
        manager.stop_target_only(target.as_str())?;
        progress.line(format!(
            "{target} would start {unit} again at once, so it is stopped, too; what else belongs to it goes on running, but would not come back after a crash; `usernetes start` brings both back"
        ));
    }
    manager.stop_and_wait(unit.as_str())
}
