//! `run`: the cluster without systemd, for containers, WSL and batch nodes.
//!
//! The services of the same table run as children of this process, by the same command lines as in their units. The
//! [`engine`] decides which runs when; [`children`] are its hands; [`control`] is how other commands ask; what the
//! services write goes through [`output`]. Everything ends with this process: a service is asked to end when the
//! supervisor dies, however that happens.

mod cgroup;
mod children;
mod control;
mod engine;
mod fit;
mod output;
mod run;
mod surroundings;

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::backup;
use crate::cluster::Current;
use crate::config::Schedule;
use crate::error::{Error, Kind, Result};
use crate::files::{private_directory, remove_tree};
use crate::host::Machine;
use crate::install::{self, Flags, Start};
use crate::lifecycle::{PATIENCE, Phase, bring_up, defragment_if_worth_it, renew_due_and_restart};
use crate::manager::{Claim, Direct, Reply, Request, base, socket};
use crate::progress::Progress;
use crate::services::{Service, Services};
use crate::store::Store;

use children::Children;
use output::Output;
use run::Run;
use surroundings::{clean, commands, divide, listen_to_signals, notify_sockets, raise_open_files};

/// Something that has happened.
#[derive(Debug)]
enum Event {
    Signal(i32),
    /// A service has said something, in the words of `sd_notify(3)`.
    Said(Service, String),
    Asked(Request, Sender<Reply>),
    /// The cluster works, or does not start.
    BroughtUp(Result<Vec<Phase>>),
}

/// Installs the bundle this process was started from, as `install` does but without units, or applies the configuration
/// anew if this is the installed command. Then runs the services in the foreground until it is asked to end. Every
/// service has ended then. `quiet` keeps what the services write out of stderr.
pub fn run(flags: &Flags, quiet: bool, machine: &Machine, progress: &Progress) -> Result<()> {
    let data = Store::open_default()?.dir().to_owned();
    // Whoever comes first has it while the other one may still be unpacking.
    let claim = data.is_dir().then(|| Claim::take(&data)).transpose()?;
    let mut machine = machine.clone();
    fit::check_idle(&machine, &data, progress)?;
    machine.private_dir = Some(base(&machine, &data));
    let flags = Flags {
        supervised: true,
        ..flags.clone()
    };
    let installed = install::install(&flags, &machine, progress)?;
    for finding in installed.findings.iter().filter(|f| f.is_telling()) {
        progress.line(format!(
            "{} {}: {}",
            finding.level.as_str(),
            finding.id,
            finding.found
        ));
    }
    progress.line(format!(
        "generation {} (release {}) {}",
        installed.generation, installed.release, installed.outcome
    ));
    let claim = claim.map_or_else(|| Claim::take(&data), Ok)?;
    let current = Current::read_for(machine)?;
    let start = flags.start.as_ref();
    let unit = start.map_or(current.config.start.as_str(), Start::unit);
    if unit.is_empty() {
        return Err(
            Error::new(Kind::Usage, "the configuration names no unit to start")
                .found(format!(
                    "`start = \"\"` in {}",
                    current.layout.config_file().display()
                ))
                .hint("name the unit, as in `usernetes run --start u7s.target`"),
        );
    }
    let patience = flags.timeout.unwrap_or(PATIENCE);
    supervise(&current, &claim, unit, patience, quiet, progress)
}

/// Runs the services of what is installed to their end.
fn supervise(
    current: &Current,
    claim: &Claim,
    unit: &str,
    patience: Duration,
    quiet: bool,
    progress: &Progress,
) -> Result<()> {
    let (layout, machine) = (&current.layout, &current.machine);
    let base = layout.runtime("");
    let base = base.parent().unwrap_or(&base);
    // Of a run that was killed: nobody uses it.
    remove_tree(&layout.runtime(""))?;
    private_directory(base)?;
    private_directory(&layout.runtime(""))?;
    raise_open_files();
    let shown = (!quiet).then(|| progress.clone());
    let output = Output::new(layout.data_dir().to_owned(), shown)?;
    let cgroups = divide(machine, &output, progress);
    let services = Services::of(&current.config);
    let (events, happened) = channel();
    let sockets = notify_sockets(layout, &services, &events)?;
    let children = Children::new(commands(layout, base), sockets, cgroups, output.clone())?;
    listen_to_signals(events.clone())?;
    control::listen(&socket(&layout.runtime("")), events.clone())?;
    claim.announce(machine, base)?;
    bring_up_meanwhile(unit, patience, progress, events)?;
    renew_meanwhile(progress);
    defragment_meanwhile(progress);
    back_up_meanwhile(&current.config.backup.schedule, progress);
    let mut run = Run::new(&services, children, output, progress);
    run.go(&happened);
    let result = run.end();
    clean(layout, base)?;
    result
}

/// Renews certificates that are due, as the timer's unit does under systemd. It looks often, so a clock that was set forward
/// or a machine that wakes up after days is noticed within this interval. If another command is changing the installation,
/// the next attempt comes soon.
fn renew_meanwhile(progress: &Progress) {
    let (first, interval) = (Duration::from_mins(2), Duration::from_mins(10));
    let complaint = "certificates are not renewed yet";
    meanwhile(first, interval, complaint, progress, renew_due_and_restart);
}

/// Looks at etcd's file every day, as the timer's unit does under systemd.
fn defragment_meanwhile(progress: &Progress) {
    let (first, interval) = (Duration::from_mins(30), Duration::from_hours(24));
    let complaint = "etcd's file stays as it is";
    meanwhile(first, interval, complaint, progress, defragment_if_worth_it);
}

/// Makes backups that are due, as the timer's unit does under systemd. Only the words that name an interval are known here.
fn back_up_meanwhile(schedule: &Schedule, progress: &Progress) {
    if schedule.is_never() {
        return;
    }
    if schedule.interval().is_none() {
        progress.line(format!(
            "no backups are made, because only systemd knows when `{schedule}` is: choose a word such as `daily` for `run`"
        ));
        return;
    }
    let interval = Duration::from_mins(15);
    meanwhile(interval, interval, "no backup yet", progress, |progress| {
        backup::scheduled_if_late(progress).map(drop)
    });
}

/// Does something again and again while the services run: after this time for the first time, then after each interval. A
/// failure is said and ends nothing.
fn meanwhile(
    first: Duration,
    interval: Duration,
    complaint: &'static str,
    progress: &Progress,
    deed: fn(&Progress) -> Result<()>,
) {
    let progress = progress.clone();
    thread::spawn(move || {
        thread::sleep(first);
        loop {
            if let Err(error) = deed(&progress) {
                progress.line(format!("{complaint}: {error}"));
            }
            thread::sleep(interval);
        }
    });
}

/// Starts the cluster and waits for it as `start` does, which asks this process through its socket.
fn bring_up_meanwhile(
    unit: &str,
    patience: Duration,
    progress: &Progress,
    events: Sender<Event>,
) -> Result<()> {
    let (unit, progress) = (unit.to_owned(), progress.clone());
    let current = Current::read()?;
    let direct = Direct::of(&current.machine, current.layout.data_dir())?;
    thread::spawn(move || {
        let missing = || Error::new(Kind::Failed, "this run does not find itself");
        let phases = direct
            .ok_or_else(missing)
            .and_then(|direct| bring_up(&direct, &current, &[unit], patience, &progress));
        // Nobody listens once everything has ended.
        let _ = events.send(Event::BroughtUp(phases));
    });
    Ok(())
}
