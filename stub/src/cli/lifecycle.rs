//! `start`, `stop`, `restart`, `status`, `logs`

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use clap::Args;

use super::output::{print, print_json, table};
use crate::child;
use crate::cluster::Current;
use crate::error::{Context as _, Result};
use crate::lifecycle;
use crate::manager::{Since, logs};
use crate::progress::Progress;
use crate::services::{Component, UnitName};
use crate::status::{self, Broken, Layer, Report};

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
            Some(unit) => lifecycle::stop_unit(&current, unit, progress),
            None => lifecycle::stop_all(&current, progress),
        }
    }

    pub(super) fn restart(&self, progress: &Progress) -> Result<()> {
        lifecycle::restart(&Current::read()?, self.unit.as_ref(), progress)
    }
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Wait until every layer works, at most so many seconds [default: 600]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "600")]
    wait: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Gives the exit code: 1 if something that should work does not.
    pub(super) fn run(&self, progress: &Progress) -> Result<u8> {
        let current = Current::read()?;
        let layers = match self.wait {
            Some(seconds) => status::wait(&current, Duration::from_secs(seconds), progress)?,
            None => status::layers(&current)?,
        };
        let report = Report::of(&current, layers)?;
        if self.json {
            print_json(&report.json())?;
        } else {
            print(&text_of(&current, &report))?;
        }
        Ok(u8::from(report.broken.is_some()))
    }
}

/// The status for people.
fn text_of(current: &Current, report: &Report) -> String {
    let rows = |layers: &[Layer]| {
        let row = |l: &Layer| {
            let state = l.state.as_str().to_owned();
            vec![l.name.to_owned(), state, l.detail.clone()]
        };
        table(&layers.iter().map(row).collect::<Vec<_>>(), &[])
    };
    let beside = report.facts.rows();
    let mut text = format!(
        "generation {} (release {})\n{}\n{}",
        report.generation,
        report.release,
        rows(&report.layers),
        rows(&beside)
    );
    for file in current.outdated_kubeconfigs().unwrap_or_default() {
        let _ = writeln!(
            text,
            "{} has an old certificate: run `usernetes kubeconfig merge`",
            file.display()
        );
    }
    if let Some(Broken { layer, log }) = &report.broken
        && let Some(unit) = layer.unit.as_ref().filter(|_| !log.is_empty())
    {
        let _ = writeln!(text, "\nthe last lines of {unit}:");
        for line in log {
            let _ = writeln!(text, "  {line}");
        }
    }
    let all = report.layers.iter().chain(&beside);
    for layer in all.filter(|l| !l.next.is_empty()) {
        let _ = writeln!(text, "next: {}", layer.next);
    }
    text
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Components, for example kubelet, etcd or containerd, or units [default: all]
    #[arg(value_name = "COMPONENT")]
    components: Vec<Component>,
    /// Keep printing new lines as they are written
    #[arg(short, long)]
    follow: bool,
    /// Number of lines to print
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Leave out older lines: a time ago, such as 10m, 2h or 3d, or a moment in UTC, such as 2026-11-27T02:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
}

impl Logs {
    pub(super) fn run(&self) -> Result<u8> {
        let current = Current::read()?;
        let units = self.components.iter().map(|c| c.unit(current.config.cri));
        let mut wanted = logs::Wanted {
            units: units.collect(),
            lines: self.lines,
            since: self.since,
            follow: self.follow,
        };
        wanted.units.sort();
        wanted.units.dedup();
        let data = current.layout.data_dir();
        if current.direct()?.is_some() || (logs::exist(data) && !current.has_units()?) {
            return logs::print(data, &wanted).map(|()| 0);
        }
        let mut command = current.systemd()?.journal(&wanted.units)?;
        if wanted.follow {
            command.arg("--follow");
        }
        if let Some(lines) = wanted.lines {
            command.args(["--lines", &lines.to_string()]);
        }
        if let Some(since) = wanted.since {
            command.arg(format!("--since=@{}", since.seconds()));
        }
        child::announce(&command);
        let error = command.exec();
        Err(error).about(|| "journalctl")
    }
}
