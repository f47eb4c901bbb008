//! The last step of an installation: the service manager reads the units, and the cluster starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::apply::Applied;
use super::gate::Gate;
use super::plan::Plan;
use super::{Outcome, Report, Start};
use crate::cluster::{Current, Receipt, unit_dir};
use crate::error::{Error, Kind, Result};
use crate::file_system::resolved;
use crate::host::CheckId;
use crate::kubeconfig;
use crate::lifecycle::{
    PATIENCE, Phase, bring_up, renew_due, restart_users, stop, timed, upholder,
};
use crate::paths;
use crate::progress::Progress;
use crate::services::{Services, UnitName, all_unit_names};
use crate::systemd::{Systemd, Unit};

impl Plan<'_> {
    /// The units that are to start with the login: the start target, if there is one.
    pub(super) fn enabled(&self) -> BTreeSet<String> {
        let target = self.config.start.as_str();
        let target = Some(target.to_owned()).filter(|t| !t.is_empty());
        target.into_iter().collect()
    }
}

impl Applied<'_> {
    /// Tells the service manager, if there is one, and starts what the plan says.
    pub(super) fn start(mut self, progress: &Progress) -> Result<Report> {
        let mut phases = std::mem::take(&mut self.phases);
        let (mut started, mut lingering, mut worked) = (String::new(), false, self.changed);
        if let Some(systemd) = self.plan.systemd.take() {
            if self.outcome == Outcome::Renewed {
                restart_users(&systemd, &self.plan.config, &self.certificates, progress)?;
            }
            self.renew_on_worker(progress);
            let states = self.reload(&systemd, &mut phases)?;
            lingering = self.settle(&systemd, &states)?;
            let gate = Gate::of(&self, &states);
            let up = self.bring_up(&systemd, &states, progress, &mut phases);
            let up = up.and_then(|up| {
                if let Some(gate) = &gate {
                    phases.extend(gate.wait(&systemd, progress)?);
                }
                Ok(up)
            });
            worked |= match (up, gate) {
                (Err(cause), Some(gate)) => {
                    // The previous generation's own program takes the lock.
                    drop(self);
                    return Err(gate.go_back(&systemd, cause, progress));
                }
                (up, _) => up?,
            };
            self.plan.start.unit().clone_into(&mut started);
        }
        // A worker has no administrator.
        let admin_kubeconfig = if self.plan.config.machines.is_worker() {
            PathBuf::new()
        } else {
            kubeconfig::admin_file(self.layout.config())
        };
        Ok(Report {
            generation: self.generation.number(),
            release: self.generation.manifest().release.to_string(),
            changed: self.outcome != Outcome::Unchanged,
            outcome: self.outcome,
            changes: self.plan.changes,
            old_config: self.old_config,
            started,
            missing: self.plan.missing,
            findings: self.plan.findings,
            bin: self.plan.store.current_link().join("bin"),
            kubeconfig: admin_kubeconfig,
            lingering,
            phases: if worked { phases } else { Vec::new() },
        })
    }

    /// Gets the certificates that a worker needs for another address of it. If the control plane does not answer now, the
    /// daily timer does it.
    fn renew_on_worker(&self, progress: &Progress) {
        if !self.plan.config.machines.is_worker() {
            return;
        }
        let renewed = renew_due(&self.current(), SystemTime::now(), progress);
        if let Err(error) = renewed {
            progress.line(format!(
                "the certificates stay as they are until `usernetes certs renew --due` works: {}",
                error.message()
            ));
        }
    }

    /// Lets the service manager read changed units. Gives the states of all units.
    fn reload(&mut self, systemd: &Systemd, phases: &mut Vec<Phase>) -> Result<Vec<Unit>> {
        if self.changed {
            timed(phases, "systemd reloaded", || {
                let (data, units) = (self.plan.store.dir(), unit_dir(&self.layout));
                self.receipt.enable(data, &units, &self.plan.enabled())?;
                systemd.run(["daemon-reload"])
            })?;
        }
        let names: Vec<UnitName> = all_unit_names().into_iter().collect();
        systemd.units(&names)
    }

    /// Turns lingering on if something is to be started, and updates the receipt. Gives whether units outlive the login.
    fn settle(&mut self, systemd: &Systemd, states: &[Unit]) -> Result<bool> {
        let plan = &self.plan;
        let before = self.receipt.clone();
        let lingers = !plan.findings.iter().any(|f| f.id == CheckId::Linger);
        if !self.receipt.linger && !lingers && !self.wanted().is_empty() {
            // Refused where the administrator does not let users decide; the report says so then.
            self.receipt.linger = systemd.linger(true).is_ok();
        }
        if states.iter().all(Unit::is_stopped) {
            self.receipt.set_stale(false, plan.machine);
        }
        if self.receipt != before {
            self.receipt.write(plan.store.dir())?;
        }
        Ok(self.receipt.linger || lingers)
    }

    /// The units that the start unit starts.
    fn wanted(&self) -> Vec<UnitName> {
        let services = Services::of(&self.plan.config);
        services.units(&services.started_by(self.plan.start.unit()))
    }

    /// Starts what is to be started, after everything has been stopped if anything changed. Gives whether there was
    /// anything to start.
    fn bring_up(
        &self,
        systemd: &Systemd,
        states: &[Unit],
        progress: &Progress,
        phases: &mut Vec<Phase>,
    ) -> Result<bool> {
        let (plan, wanted) = (&self.plan, self.wanted());
        let running = |name: &UnitName| states.iter().any(|u| *name == *u.name() && u.is_active());
        if wanted.is_empty() || (!self.changed && wanted.iter().all(running)) {
            return Ok(false);
        }
        plan.store.sign()?;
        let mut starting = vec![plan.start.unit().to_owned()];
        if self.changed && states.iter().any(|u| !u.is_stopped()) {
            // A single service is started only this once, beside the units that were running.
            if matches!(plan.start, Start::Service(_)) {
                starting.extend(outermost(states, &self.receipt));
            }
            // The receipt has forgotten what this release does not need.
            let others = plan.receipt.as_ref().map(Receipt::units_of_others);
            let others = others.unwrap_or_default();
            timed(phases, "stopped", || stop(systemd, &others, progress))?;
        }
        let patience = plan.timeout.unwrap_or(PATIENCE);
        phases.extend(bring_up(
            systemd,
            &self.current(),
            &starting,
            patience,
            progress,
        )?);
        Ok(true)
    }

    /// The installation, for deeds that need it as a whole.
    pub(super) fn current(&self) -> Current {
        Current {
            machine: self.plan.machine.clone(),
            generation: self.generation.clone(),
            layout: self.layout.clone(),
            config: self.plan.config.clone(),
        }
    }
}

/// The installed units to start so that all active units become active again: the active targets, and the active services
/// that no active target starts. Each of them also starts RootlessKit.
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

/// Fails if the service manager does not look for units in the directory where they are to be written. Only its own
/// environment counts.
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
        "unset {0} for this command, or set it for your service manager as well: in a file below ~/.config/environment.d; if your home was moved, log in again",
        paths::XDG_CONFIG_HOME
    )))
}
