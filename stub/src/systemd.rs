//! Uses the user's service manager through `systemctl --user`. It is run as rarely as possible, because each run takes time.

#[cfg(feature = "fuzz")]
pub mod fuzz;
mod quoting;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::child::{self, Ended};
use crate::error::{Context, Error, Kind, Result};
use crate::file_system::same;
use crate::host::Machine;

use quoting::words;

/// The properties that are read for each unit.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Job,Result,NRestarts,UnitFileState,FragmentPath,StatusText,\
    ExecMainStatus,ExecMainStartTimestamp,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic";

/// The service manager of the user of a machine.
#[derive(Debug, Clone)]
pub struct Systemd {
    machine: Machine,
    systemctl: PathBuf,
    /// The directory that units must come from; `None` for any directory.
    unit_dir: Option<PathBuf>,
}

/// The properties of a unit, as systemd reports them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unit {
    properties: BTreeMap<String, String>,
}

impl Unit {
    /// A unit with these properties.
    #[must_use]
    pub(crate) fn new(properties: BTreeMap<String, String>) -> Self {
        Self { properties }
    }

    /// The value of a property; empty if systemd does not know it.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.get("Id")
    }

    /// Whether systemd has a file for it.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// Whether it has started and is ready.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.get("ActiveState") == "active"
    }

    /// Whether it does not run and is not about to start. A target is inactive as long as it waits for its services, and a
    /// service for those it needs; then they have a job.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.waits() && matches!(self.get("ActiveState"), "inactive" | "failed" | "")
    }

    /// Whether systemd has yet to start or stop it.
    fn waits(&self) -> bool {
        !matches!(self.get("Job"), "" | "0")
    }

    /// Whether it has ended with a failure.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.get("ActiveState") == "failed"
    }

    /// When its main process was started, RFC 3339 in UTC, to the second.
    #[must_use]
    pub fn started(&self) -> Option<String> {
        // `Thu 2026-11-26 11:22:41 UTC`, because `systemctl` runs with `TZ=UTC`.
        let mut words = self.get("ExecMainStartTimestamp").split(' ').skip(1);
        let (date, time) = (words.next()?, words.next()?);
        (words.next() == Some("UTC")).then(|| format!("{date}T{time}Z"))
    }

    /// Whether it starts automatically with the user's service manager.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.get("UnitFileState") == "enabled"
    }

    /// How often systemd has restarted it automatically.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.get("NRestarts").parse().unwrap_or_default()
    }

    /// How long it took to become ready, in microseconds.
    #[must_use]
    pub fn start_up(&self) -> Option<u64> {
        let time = |name| self.get(name).parse::<u64>().ok().filter(|t| *t > 0);
        time("ActiveEnterTimestampMonotonic")?.checked_sub(time("InactiveExitTimestampMonotonic")?)
    }

    /// Whether the service manager has read it from a file outside `unit_dir`. A file that no longer exists, for example
    /// because its home was moved, does not count.
    #[must_use]
    pub fn is_of_another(&self, unit_dir: &Path) -> bool {
        let file = Path::new(self.get("FragmentPath"));
        let dir = file.parent().unwrap_or(file);
        file.exists() && !same(dir, unit_dir) && !same(file, &unit_dir.join(self.name()))
    }

    /// Its state for people, for example `active (running)` or `activating (auto-restart) after 3 restarts`.
    #[must_use]
    pub fn state(&self) -> String {
        let mut text = match (self.get("ActiveState"), self.get("SubState")) {
            ("" | "inactive", _) if !self.exists() => "not installed".to_owned(),
            ("", _) => "unknown".to_owned(),
            ("inactive", _) if self.waits() => "waiting".to_owned(),
            (active, sub) if active == sub || sub == "dead" || sub.is_empty() => active.to_owned(),
            (active, sub) => format!("{active} ({sub})"),
        };
        match self.restarts() {
            0 => {}
            1 => text.push_str(" after 1 restart"),
            n => text.push_str(&format!(" after {n} restarts")),
        }
        text
    }
}

impl Systemd {
    /// Fails if the machine has no `systemctl`.
    pub fn of(machine: &Machine) -> Result<Self> {
        let systemctl = machine.find("systemctl").ok_or_else(|| {
            Error::new(Kind::Host, "there is no `systemctl` in PATH")
                .expected("a machine that runs systemd")
                .hint("`install --start \"\"` unpacks and configures everything without it")
        })?;
        Ok(Self {
            machine: machine.clone(),
            systemctl,
            unit_dir: None,
        })
    }

    /// Limits the service manager to the units in a directory: [`units`](Self::units) fails if it has read units with the same
    /// names from another directory. In a home that was copied, those belong to the original.
    #[must_use]
    pub fn for_units_in(self, unit_dir: PathBuf) -> Self {
        Self {
            unit_dir: Some(unit_dir),
            ..self
        }
    }

    /// Runs `systemctl --user` with these arguments and discards its output. If it fails, the error contains its stderr.
    pub fn run<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<()> {
        self.output(arguments).map(drop)
    }

    fn output<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(|a| a.as_ref().to_owned())
            .collect();
        let mut command = self.machine.command(&self.systemctl);
        command.arg("--user").args(&arguments).env("TZ", "UTC");
        // When a terminal is closed, its whole process group gets a signal. In a group of its own, `systemctl` goes on.
        command.process_group(0);
        let ended = child::run(&mut command)?.success();
        ended.hint(|| "`usernetes doctor` checks whether your service manager works".to_owned())
    }

    /// The states of units, in the order of `names`, with a single run of `systemctl`.
    pub fn units<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<Unit>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let property = format!("--property={PROPERTIES}");
        let mut arguments = vec!["show", property.as_str(), "--"];
        arguments.extend(names.iter().map(AsRef::as_ref));
        let units = parse(&self.output(arguments)?);
        let Some(unit_dir) = &self.unit_dir else {
            return Ok(units);
        };
        match units.iter().find(|u| u.is_of_another(unit_dir)) {
            Some(unit) => Err(of_another(unit, unit_dir)),
            None => Ok(units),
        }
    }

    /// Resets the failed state of all units that have failed. Does nothing if none has.
    pub fn reset_failed(&self, units: &[Unit]) -> Result<()> {
        let failed: Vec<_> = units
            .iter()
            .filter(|u| u.has_failed())
            .map(Unit::name)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        self.run(["reset-failed"].into_iter().chain(failed))
    }

    /// The directories in which it looks for units; none if it does not report them.
    pub fn unit_path(&self) -> Result<Vec<PathBuf>> {
        let text = self.output(["show", "--property=UnitPath"])?;
        let list = text.trim().strip_prefix("UnitPath=").unwrap_or_default();
        Ok(words(list).into_iter().map(PathBuf::from).collect())
    }

    /// The last lines that a unit has written since the machine was booted. Empty if the user may not read the journal.
    #[must_use]
    pub fn log(&self, unit: &str, lines: u32) -> Vec<String> {
        let Ok(mut command) = self.journal(&[unit]) else {
            return Vec::new();
        };
        command
            .args(["--boot", "--output=cat", "--quiet", "--lines"])
            .arg(lines.to_string());
        let text = child::run(&mut command).and_then(Ended::success);
        let text = text.unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The command `journalctl` for some units; if there are none, for all our units.
    pub fn journal(&self, units: &[impl AsRef<str>]) -> Result<Command> {
        let journalctl = self.machine.find("journalctl").ok_or_else(|| {
            Error::new(Kind::Host, "there is no `journalctl` in PATH")
                .expected("a machine that runs systemd")
        })?;
        let mut command = self.machine.command(&journalctl);
        command.args(["--user", "--no-pager"]);
        for unit in units {
            command.args(["--unit", unit.as_ref()]);
        }
        if units.is_empty() {
            command.args(["--unit", "u7s*"]);
        }
        Ok(command)
    }

    /// Sets whether the user's units start when the machine boots and keep running after the user logs out. Fails if the
    /// user may not set this.
    pub fn linger(&self, enable: bool) -> Result<()> {
        let loginctl = self
            .machine
            .find("loginctl")
            .ok_or_else(|| Error::new(Kind::Host, "there is no `loginctl` in PATH"))?;
        let mut command = self.machine.command(&loginctl);
        command.args([
            "--no-ask-password",
            if enable {
                "enable-linger"
            } else {
                "disable-linger"
            },
        ]);
        child::run(&mut command)?.success().map(drop)
    }
}

fn of_another(unit: &Unit, unit_dir: &Path) -> Error {
    Error::new(
        Kind::Host,
        format!(
            "your service manager has {} of another installation",
            unit.name()
        ),
    )
    .expected(format!("a unit in {}", unit_dir.display()))
    .found(unit.get("FragmentPath"))
    .hint("if this home is a copy, run the `usernetes` of the original; `usernetes uninstall` removes the copy's units and leaves the original alone")
}

/// Parses blocks of `key=value` lines, one for each unit, separated by empty lines.
pub(crate) fn parse(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            let properties = pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            Unit { properties }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_parsed_and_states_are_described() {
        let text = "Id=u7s-etcd.service\nLoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\n\
            InactiveExitTimestampMonotonic=1000\nActiveEnterTimestampMonotonic=4000\nUnitFileState=enabled\n\
            ExecMainStartTimestamp=Thu 2026-11-26 11:22:41 UTC\n\n\
            Id=u7s-kubelet-crio.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n\n\
            Id=u7s-kube-scheduler.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nNRestarts=3\n\n\
            Id=u7s.target\nLoadState=loaded\nActiveState=active\nSubState=active\n\n\
            Id=u7s-node.target\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nJob=17\n";
        let units = parse(text);
        let states: Vec<_> = units.iter().map(|u| (u.name(), u.state())).collect();
        assert_eq!(
            states,
            [
                ("u7s-etcd.service", "active (running)".to_owned()),
                ("u7s-kubelet-crio.service", "not installed".to_owned()),
                (
                    "u7s-kube-scheduler.service",
                    "activating (auto-restart) after 3 restarts".to_owned()
                ),
                ("u7s.target", "active".to_owned()),
                ("u7s-node.target", "waiting".to_owned()),
            ]
        );
        assert_eq!(
            (units[0].start_up(), units[1].start_up()),
            (Some(3000), None)
        );
        assert_eq!(
            (units[0].started().as_deref(), units[1].started()),
            (Some("2026-11-26T11:22:41Z"), None)
        );
        assert!(
            units[0].is_active()
                && units[0].is_enabled()
                && !units[2].is_stopped()
                && units[1].is_stopped()
                && !units[4].is_stopped()
        );
    }
}
