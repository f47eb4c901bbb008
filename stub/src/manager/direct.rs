//! A running `usernetes run`, asked through its socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Manager, Session, logs};
use crate::error::{Context as _, Error, Kind, Result};
use crate::host::Machine;
use crate::services::UnitName;
use crate::systemd::Unit;

/// Its name in the runtime directory.
const SOCKET: &str = "run.sock";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a unit may take to start or to end, when that is waited for.
const UNIT_PATIENCE: Duration = Duration::from_mins(5);
const INTERVAL: Duration = Duration::from_millis(200);

/// What a run can be asked for: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The states of all units.
    Show,
    /// To start units.
    Start(Vec<String>),
    /// To stop units.
    Stop(Vec<String>),
    /// To stop a target and let its services run on.
    StopTargetOnly(String),
    /// To stop and start units.
    Restart(Vec<String>),
    /// To stop everything, and to end itself.
    End,
}

/// Its answer: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The properties of all units.
    Units(Vec<Unit>),
    /// It has begun.
    Done,
    /// The request was not understood.
    Refused(String),
}

/// A run on this machine.
#[derive(Debug, Clone)]
pub struct Direct {
    pid: u32,
    socket: PathBuf,
    data: PathBuf,
}

impl Direct {
    /// The run that has claimed a data directory; `None` if there is none. Fails if it is on another machine.
    pub fn of(machine: &Machine, data: &Path) -> Result<Option<Self>> {
        let Some(session) = Session::of(data)? else {
            return Ok(None);
        };
        session.check_here(machine)?;
        Ok(Some(Self {
            pid: session.pid,
            socket: socket(&session.runtime()),
            data: data.to_owned(),
        }))
    }

    /// The process that supervises.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to stop everything and to end. It has ended when [`Session::of`] finds none.
    pub fn end(&self) -> Result<()> {
        self.ask(&Request::End).map(drop)
    }

    fn ask(&self, request: &Request) -> Result<Vec<Unit>> {
        let reply = self
            .exchange(request)
            .about(|| format!("`usernetes run`, process {}", self.pid))?;
        match reply {
            Reply::Units(units) => Ok(units),
            Reply::Done => Ok(Vec::new()),
            Reply::Refused(why) => Err(Error::new(
                Kind::Failed,
                format!("`usernetes run` refused: {why}"),
            )),
        }
    }

    fn exchange(&self, request: &Request) -> std::io::Result<Reply> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn wait(&self, units: &[&str], reached: impl Fn(&Unit) -> bool, what: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let states = self.ask(&Request::Show)?;
            let mut named = states.iter().filter(|u| units.contains(&u.name()));
            let Some(unit) = named.find(|u| !reached(u)) else {
                return Ok(());
            };
            if began.elapsed() > UNIT_PATIENCE {
                let seconds = UNIT_PATIENCE.as_secs();
                return Err(Error::new(
                    Kind::Failed,
                    format!("{} {what} after {seconds} s", unit.name()),
                )
                .detail("state", unit.state())
                .hint(format!("run `usernetes logs {}`", unit.name())));
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl Manager for Direct {
    fn units(&self, names: &[UnitName]) -> Result<Vec<Unit>> {
        let all = self.ask(&Request::Show)?;
        let of = |name: &UnitName| all.iter().find(|u| *name == *u.name()).cloned();
        Ok(names.iter().filter_map(of).collect())
    }

    fn reset_failed(&self, _: &[Unit]) -> Result<()> {
        // It has no such state: it tries again and again.
        Ok(())
    }

    fn start(&self, units: &[&str]) -> Result<()> {
        self.ask(&Request::Start(owned(units))).map(drop)
    }

    fn stop(&self, units: &[&str]) -> Result<()> {
        self.ask(&Request::Stop(owned(units))).map(drop)
    }

    fn stop_and_wait(&self, unit: &str) -> Result<()> {
        self.stop(&[unit])?;
        self.wait(&[unit], Unit::is_stopped, "has not ended")
    }

    fn stop_target_only(&self, target: &str) -> Result<()> {
        self.ask(&Request::StopTargetOnly(target.to_owned()))
            .map(drop)
    }

    fn restart(&self, units: &[&str]) -> Result<()> {
        self.ask(&Request::Restart(owned(units)))?;
        self.wait(units, Unit::is_active, "is not ready")
    }

    fn log(&self, unit: &str, lines: u32) -> Vec<String> {
        logs::last(&self.data, unit, lines)
    }

    fn restart_by_hand(&self, units: &[&str]) -> String {
        let lines: Vec<_> = units
            .iter()
            .map(|unit| format!("usernetes restart {unit}"))
            .collect();
        lines.join("\n  ")
    }

    fn kill_by_hand(&self, _: &[&str]) -> String {
        format!("kill -KILL {}", self.pid)
    }
}

/// Where a run with this runtime directory answers.
#[must_use]
pub fn socket(runtime: &Path) -> PathBuf {
    runtime.join(SOCKET)
}

fn owned(units: &[&str]) -> Vec<String> {
    units.iter().map(|unit| (*unit).to_owned()).collect()
}
