//! `start`, `stop`, `restart`, `status`, `logs`

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;

use clap::Args;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Current;
use crate::config::Target;
use crate::error::{Context as _, Error, Kind, Result};
use crate::lifecycle;
use crate::manager::logs;
use crate::progress::Progress;
use crate::services::UnitName;
use crate::status::{self, DaysLeft, State};

#[derive(Debug, Args)]
pub(super) struct Unit {
    /// Unit, for example u7s-etcd.service or just etcd [default: the whole cluster]
    unit: Option<UnitName>,
}

impl Unit {
    pub(super) fn start(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        current.check_in_place()?;
        let unit = match &self.unit {
            Some(unit) => unit.clone(),
            None => start_target(&current)?,
        };
        lifecycle::start(&current, unit.as_str(), progress)
    }

    /// Stops the unit or the whole cluster, and waits until it has stopped.
    pub(super) fn stop(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        if let Some(unit) = &self.unit {
            return lifecycle::stop_unit(current.manager()?.as_ref(), unit, progress);
        }
        if lifecycle::end_run(&current.machine, &current.layout.data(""), progress)? {
            return Ok(());
        }
        lifecycle::stop(&current.systemd()?, progress)
    }

    pub(super) fn restart(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        current.check_in_place()?;
        let manager = current.manager()?;
        if let Some(unit) = &self.unit {
            // Does it belong to this installation?
            manager.units(std::slice::from_ref(unit))?;
            return manager.restart(&[unit.as_str()]);
        }
        let target = start_target(&current)?;
        lifecycle::stop(manager.as_ref(), progress)?;
        lifecycle::start(&current, target.as_str(), progress)
    }
}

fn start_target(current: &Current) -> Result<UnitName> {
    match current.config.start {
        Target::Nothing => Err(
            Error::new(Kind::Usage, "the configuration names no unit to start")
                .found(format!(
                    "`start = \"\"` in {}",
                    current.layout.config_file().display()
                ))
                .hint("name the unit, as in `usernetes start u7s.target`"),
        ),
        target => Ok(UnitName::target(target)),
    }
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Gives the exit code: 1 if something that should work does not.
    pub(super) fn run(&self) -> Result<u8> {
        let current = Current::read()?;
        let layers = status::layers(&current)?;
        let days = DaysLeft::of(&current)?;
        let well = layers.iter().all(|l| l.state == State::Ok);
        let (number, release) = (
            current.generation.number(),
            &current.generation.manifest().release,
        );
        if self.json {
            print_json(&json!({
                "authority_days": days.authorities, "certificate_days": days.certificates, "generation": number,
                "layers": layers, "ok": well, "release": release,
            }))?;
        } else {
            let rows: Vec<_> = layers
                .iter()
                .map(|l| {
                    vec![
                        l.name.to_owned(),
                        l.state.as_str().to_owned(),
                        l.detail.clone(),
                    ]
                })
                .collect();
            let mut text = format!(
                "generation {number} (release {release})\n{}",
                table(&rows, &[])
            );
            for (what, days, next) in [
                (
                    "certificates",
                    days.certificates,
                    "to renew them, run `usernetes certs renew`",
                ),
                (
                    "authorities",
                    days.authorities,
                    "they are not renewed automatically; `usernetes certs list` shows them",
                ),
            ] {
                if let Some(days) = days.filter(|days| *days < 30) {
                    let expire = match days {
                        1 => "expire in 1 day".to_owned(),
                        0.. => format!("expire in {days} days"),
                        ..0 => "have expired".to_owned(),
                    };
                    let _ = writeln!(text, "{what} {expire}: {next}");
                }
            }
            if let Some(layer) = layers.last().filter(|l| !l.next.is_empty()) {
                let _ = writeln!(text, "next: {}", layer.next);
            }
            print(&text)?;
        }
        Ok(u8::from(!well))
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Unit, for example u7s-etcd.service or just etcd [default: all units]
    unit: Option<UnitName>,
    /// Keep printing new lines as they are written
    #[arg(short, long)]
    follow: bool,
    /// Number of lines to print
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
}

impl Logs {
    pub(super) fn run(&self) -> Result<u8> {
        let current = Current::read()?;
        let unit = self.unit.as_ref().map_or("", UnitName::as_str);
        let data = current.layout.data("");
        if current.direct()?.is_some() || (logs::exist(&data) && !current.has_units()?) {
            return logs::print(&data, unit, self.lines, self.follow).map(|()| 0);
        }
        let mut command = current.systemd()?.journal(unit)?;
        if self.follow {
            command.arg("--follow");
        }
        if let Some(lines) = self.lines {
            command.args(["--lines", &lines.to_string()]);
        }
        let error = command.exec();
        Err(error).about(|| "journalctl")
    }
}
