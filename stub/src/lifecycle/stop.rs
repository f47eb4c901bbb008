//! Stopping: everything, or one unit so that it stays stopped.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::services::upholder;
use super::start::{start, start_target};
use crate::cluster::{Current, units_of_others};
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::manager::{Direct, Manager, is_claimed, runs};
use crate::progress::Progress;
use crate::services::{Service, UnitName, stop_order};
use crate::systemd::Unit;

/// All units together may take less time than this to end.
const PATIENCE: Duration = Duration::from_mins(3);
const INTERVAL: Duration = Duration::from_millis(200);

/// Stops everything and waits until nothing runs any more. systemd keeps the order the units ask for: nodes before the
/// API server before etcd before RootlessKit.
///
/// `others` are units of another release that the receipt records. They need some of ours, as all units do, so they are the
/// first.
pub fn stop(manager: &dyn Manager, others: &[UnitName], progress: &Progress) -> Result<()> {
    let mut order = others.to_vec();
    order.extend(stop_order());
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
    // Units may have failed before, or by taking too long to end. systemd would list them as failed for ever, and the next
    // start could not tell old failures from new ones.
    manager.reset_failed(&units)
}

/// Stops the whole cluster: the `usernetes run` that runs it, if there is one, or else its units.
pub fn stop_all(current: &Current, progress: &Progress) -> Result<()> {
    if end_run(&current.machine, current.layout.data_dir(), progress)? {
        return Ok(());
    }
    let others = units_of_others(current.layout.data_dir())?;
    stop(&current.systemd()?, &others, progress)
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

/// Waits until no unit runs. Gives their last states.
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

/// Restarts one unit, or stops the whole cluster and starts it again.
pub fn restart(current: &Current, unit: Option<&UnitName>, progress: &Progress) -> Result<()> {
    current.check_in_place()?;
    let manager = current.manager()?;
    if let Some(unit) = unit {
        // Does it belong to this installation?
        manager.units(std::slice::from_ref(unit))?;
        return manager.restart(&[unit.as_str()]);
    }
    let target = start_target(current)?;
    let others = units_of_others(current.layout.data_dir())?;
    stop(manager.as_ref(), &others, progress)?;
    start(current, Some(&target), progress)
}

/// Stops one unit so that it stays stopped. An active target would start its service again at once, so that target is
/// stopped as well, without its other services. RootlessKit stops together with everything, because everything runs inside
/// it.
pub fn stop_unit(current: &Current, unit: &UnitName, progress: &Progress) -> Result<()> {
    let manager = current.manager()?;
    let manager = manager.as_ref();
    if Service::of_unit(unit.as_str()) == Some(Service::Rootlesskit) {
        progress.line("everything runs inside RootlessKit, so everything stops");
        let others = units_of_others(current.layout.data_dir())?;
        return stop(manager, &others, progress);
    }
    // Does it belong to this installation?
    manager.units(std::slice::from_ref(unit))?;
    if let Some(target) = upholder(unit.as_str())
        && manager
            .units(&[UnitName::target(target)])?
            .iter()
            .any(|u| !u.is_stopped())
    {
        manager.stop_target_only(target.as_str())?;
        progress.line(format!(
            "stopped {target} as well, because it would start {unit} again at once; its other services keep running, but would not restart after a crash; `usernetes start` starts both again"
        ));
    }
    manager.stop_and_wait(unit.as_str())
}
