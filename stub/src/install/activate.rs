//! The last step of an installation: telling systemd, and starting.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Installed, Run, Start};
use crate::cluster::{Current, Receipt, unit_dir};
use crate::error::{Error, Kind, Result};
use crate::file_system::resolved;
use crate::lifecycle::{bring_up, stop, timed, upholder};
use crate::paths;
use crate::progress::Progress;
use crate::services::{Services, UnitName, all_unit_names};
use crate::systemd::{Systemd, Unit};

impl Run<'_> {
    /// Tells systemd, and starts what is to be started.
    pub(super) fn activate(
        &self,
        systemd: &Systemd,
        current: &Current,
        mut receipt: Receipt,
        progress: &Progress,
        installed: &mut Installed,
    ) -> Result<()> {
        let mut phases = std::mem::take(&mut installed.phases);
        let before = receipt.clone();
        let changed = installed.changed;
        let names: Vec<UnitName> = all_unit_names().into_iter().collect();
        if changed {
            timed(&mut phases, "systemd reloaded", || {
                receipt.enable(
                    self.store.dir(),
                    &unit_dir(&current.layout),
                    &self.enabled(),
                )?;
                systemd.run(["daemon-reload"])
            })?;
        }
        let states = systemd.units(&names)?;
        let services = Services::of(&self.config);
        let wanted = services.units(&services.started_by(self.start.unit()));
        let running = |name: &UnitName| states.iter().any(|u| *name == *u.name() && u.is_active());
        let lingers = !installed.findings.iter().any(|f| f.id == "linger");
        if !receipt.linger && !lingers && !wanted.is_empty() {
            // Refused where the administrator does not let users decide it; the hint at the end says so.
            receipt.linger = systemd.linger(true).is_ok();
        }
        if states.iter().all(Unit::is_stopped) {
            receipt.set_stale(false, self.machine);
        }
        installed.lingering = receipt.linger || lingers;
        if receipt != before {
            receipt.write(self.store.dir())?;
        }

        self.start.unit().clone_into(&mut installed.started);
        if wanted.is_empty() || (!changed && wanted.iter().all(running)) {
            installed.phases = if changed { phases } else { Vec::new() };
            return Ok(());
        }
        self.store.sign()?;
        let mut starting = vec![self.start.unit().to_owned()];
        if changed && states.iter().any(|u| !u.is_stopped()) {
            // A service is started this once, beside what runs.
            if matches!(self.start, Start::Service(_)) {
                starting.extend(outermost(&states, &receipt));
            }
            timed(&mut phases, "stopped", || stop(systemd, progress))?;
        }
        phases.extend(bring_up(systemd, current, &starting, progress)?);
        installed.phases = phases;
        Ok(())
    }

    /// The units that are to start with the login: the start target, if there is one.
    pub(super) fn enabled(&self) -> BTreeSet<String> {
        let target = self.config.start.as_str();
        let target = Some(target.to_owned()).filter(|t| !t.is_empty());
        target.into_iter().collect()
    }
}

/// The installed units that must be started for all that is active to be active again: targets, and services that no
/// active target starts. RootlessKit comes with any of them.
fn outermost(states: &[Unit], receipt: &Receipt) -> Vec<String> {
    let installed = |unit: &&Unit| receipt.units.contains_key(unit.name());
    let active: Vec<_> = states
        .iter()
        .filter(|u| u.is_active())
        .filter(installed)
        .collect();
    let is_active = |name: &str| active.iter().any(|u| u.name() == name);
    let wanted = active.iter().map(|u| u.name()).filter(|name| {
        name.ends_with(".target") || upholder(name).is_some_and(|t| !is_active(t.as_str()))
    });
    wanted.map(str::to_owned).collect()
}

/// Fails if the service manager does not look for units where they are to be written: only its own environment counts.
pub(super) fn check_unit_path(systemd: &Systemd, unit_dir: &Path) -> Result<()> {
    let path = systemd.unit_path()?;
    // The directories of units need not exist yet.
    let wanted = resolved(unit_dir);
    if path.is_empty() || path.iter().any(|dir| resolved(dir) == wanted) {
        return Ok(());
    }
    let dirs: Vec<_> = path.iter().map(|dir| dir.display().to_string()).collect();
    Err(Error::new(
        Kind::Host,
        format!("your service manager does not look for units in {}", unit_dir.display()),
    )
    .expected(format!(
        "{} and {} to be the same for it as here",
        paths::HOME,
        paths::XDG_CONFIG_HOME
    ))
    .found(format!("it looks into {}", dirs.join(", ")))
    .hint(format!(
        "unset {0} for this command, or set it for your service manager as well: in a file below ~/.config/environment.d; a home that was moved it knows once you have logged in anew",
        paths::XDG_CONFIG_HOME
    )))
}
