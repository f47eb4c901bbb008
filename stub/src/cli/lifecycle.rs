//! `start`, `stop`, `restart`, `status`, `logs`

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;

use clap::Args;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::child;
use crate::cluster::Current;
use crate::error::{Context as _, Result};
use crate::lifecycle;
use crate::manager::logs;
use crate::progress::Progress;
use crate::services::UnitName;
use crate::status::{self, DaysLeft, Layer};

#[derive(Debug, Args)]
pub(super) struct Unit {
    /// Unit, for example u7s-etcd.service or just etcd [default: the whole cluster]
    unit: Option<UnitName>,
}

impl Unit {
    pub(super) fn start(&self, progress: &Progress) -> Result<()> {
        lifecycle::start(&Current::read()?, self.unit.as_ref(), progress)
    }

    pub(super) fn stop(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        match &self.unit {
            Some(unit) => lifecycle::stop_unit(current.manager()?.as_ref(), unit, progress),
            None => lifecycle::stop_all(&current, progress),
        }
    }

    pub(super) fn restart(&self, progress: &Progress) -> Result<()> {
        lifecycle::restart(&Current::read()?, self.unit.as_ref(), progress)
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
        let well = layers.iter().all(Layer::works);
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
            for (what, days, limit, next) in [
                (
                    "certificates",
                    days.certificates,
                    30,
                    "to renew them now, run `usernetes certs renew --due`",
                ),
                (
                    "authorities",
                    days.authorities,
                    180,
                    "they are not renewed automatically; `usernetes certs list` shows them",
                ),
            ] {
                if let Some(days) = days.filter(|days| *days < limit) {
                    let expire = match days {
                        1 => "expire in 1 day".to_owned(),
                        0.. => format!("expire in {days} days"),
                        ..0 => "have expired".to_owned(),
                    };
                    let _ = writeln!(text, "{what} {expire}: {next}");
                }
            }
            for file in current.outdated_kubeconfigs().unwrap_or_default() {
                let _ = writeln!(
                    text,
                    "{} has an old certificate: run `usernetes kubeconfig merge`",
                    file.display()
                );
            }
            for layer in layers.iter().filter(|l| !l.next.is_empty()) {
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
        let data = current.layout.data_dir();
        if current.direct()?.is_some() || (logs::exist(data) && !current.has_units()?) {
            return logs::print(data, unit, self.lines, self.follow).map(|()| 0);
        }
        let mut command = current.systemd()?.journal(unit)?;
        if self.follow {
            command.arg("--follow");
        }
        if let Some(lines) = self.lines {
            command.args(["--lines", &lines.to_string()]);
        }
        child::announce(&command);
        let error = command.exec();
        Err(error).about(|| "journalctl")
    }
}
