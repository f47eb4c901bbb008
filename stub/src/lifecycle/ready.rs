//! Starting, and waiting until it is true that the cluster works.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::api::Client;
use crate::api::apply;
use crate::api::{dns, node};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::manager::Manager;
use crate::progress::Progress;
use crate::services::UnitName;
use crate::systemd::Unit;

/// Between two looks at how far things are.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at the units, which costs a process each time.
const UNITS_INTERVAL: Duration = Duration::from_secs(2);
/// How long each goal may take. The slowest machine seen needed two minutes for all of them.
const PATIENCE: Duration = Duration::from_mins(10);
/// A unit that was started again by itself so often will not become ready.
const FLAPPING: u32 = 5;
/// How much of a late unit's log is shown.
const LOG_LINES: u32 = 20;

/// A part of an installation, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// What was done or waited for.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
}

/// Does something and notes how long it took.
pub(crate) fn timed<T>(
    phases: &mut Vec<Phase>,
    name: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let result = work()?;
    phases.push(Phase {
        name: name.to_owned(),
        seconds: started.elapsed().as_secs_f64(),
    });
    Ok(result)
}

/// How far something is.
enum State {
    Reached,
    /// What is still in the way; if it is empty, the units that are not active yet.
    Pending(String),
}

impl State {
    fn of(reached: std::result::Result<(), String>) -> Self {
        reached.map_or_else(Self::Pending, |()| Self::Reached)
    }
}

/// Waits for one goal after the other, with an eye on the units that work towards them.
pub(crate) struct Waiter<'a> {
    manager: &'a dyn Manager,
    progress: &'a Progress,
    units: Vec<UnitName>,
    /// All units as they were before we began.
    before: Vec<Unit>,
}

impl<'a> Waiter<'a> {
    /// `units` are those that must become active, `before` all units before anything was started.
    pub(crate) fn new(
        manager: &'a dyn Manager,
        progress: &'a Progress,
        units: Vec<UnitName>,
        before: Vec<Unit>,
    ) -> Self {
        Self {
            manager,
            progress,
            units,
            before,
        }
    }

    /// When a unit was started, RFC 3339 in UTC, if that was after we began; `None` for one that runs on. What the API
    /// server says about what a new one does may still be of the time before.
    pub(crate) fn started(&self, unit: &Unit) -> Option<String> {
        let before = self.before.iter().find(|u| u.name() == unit.name());
        let runs_on = before.is_some_and(|u| u.is_active() && u.started() == unit.started());
        unit.started().filter(|_| !runs_on)
    }

    /// Waits until all units are active.
    pub(crate) fn units(&self) -> Result<Phase> {
        self.wait("units", "", || {
            let units = self.manager.units(&self.units)?;
            Ok(starting(&units).map_or(State::Reached, State::Pending))
        })
    }

    /// Waits until the API server says that it is ready.
    pub(crate) fn api(&self, client: &Client) -> Result<Phase> {
        self.wait("API server ready", "u7s-kube-apiserver.service", || {
            Ok(match client.get("/readyz") {
                Ok(answer) if answer.status == 200 => State::Reached,
                Ok(answer) => State::Pending(format!("it answers {}", answer.status)),
                // Nothing listens yet, or not with our certificate: whose fault it is the log will say.
                Err(_) => State::Pending(String::new()),
            })
        })
    }

    /// Waits until the API server has taken the objects. The first namespaces appear only after it is ready.
    pub(crate) fn apply(&self, client: &Client, objects: &[Value]) -> Result<Phase> {
        self.wait(
            "roles and CoreDNS applied",
            "u7s-kube-apiserver.service",
            || {
                Ok(match apply(client, objects)? {
                    None => State::Reached,
                    Some(complaint) => State::Pending(complaint),
                })
            },
        )
    }

    /// Waits until the node says that it is ready; if the kubelet is a new one, that one.
    pub(crate) fn node(&self, client: &Client, config: &Config, kubelet: &Unit) -> Result<Phase> {
        let since = self.started(kubelet);
        self.wait("node Ready", kubelet.name(), || {
            Ok(State::of(node(client, config, since.as_deref())))
        })
    }

    /// Waits until CoreDNS runs and answers; if the container runtime is a new one, in that one.
    pub(crate) fn dns(&self, client: &Client, runtime: &Unit, kubelet: &str) -> Result<Phase> {
        let since = self.started(runtime);
        self.wait("CoreDNS running", kubelet, || {
            Ok(State::of(dns(client, since.as_deref())))
        })
    }

    /// Looks again and again. `culprit` is the unit whose log says why it takes so long; if it is empty, the first
    /// that is not active.
    fn wait(
        &self,
        name: &str,
        culprit: &str,
        mut look: impl FnMut() -> Result<State>,
    ) -> Result<Phase> {
        let wait = self.progress.wait(name);
        let started = Instant::now();
        let (mut units_seen, mut units) = (started, String::new());
        loop {
            let state = match look() {
                Ok(State::Reached) => {
                    return Ok(Phase {
                        name: name.to_owned(),
                        seconds: wait.finish("done"),
                    });
                }
                Ok(State::Pending(state)) => state,
                // A server that restarts. If it does not come back its unit is the one to name.
                Err(error) => error.message().to_owned(),
            };
            let state = if state.is_empty() {
                units.clone()
            } else {
                state
            };
            wait.say(&state);
            if units_seen.elapsed() >= UNITS_INTERVAL {
                units = self.check_units()?;
                units_seen = Instant::now();
            }
            if started.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                let units = self.manager.units(&self.units)?;
                let first = units.iter().find(|u| !u.is_active()).map_or("", Unit::name);
                let unit = if culprit.is_empty() { first } else { culprit };
                return Err(self
                    .failure(unit, format!("{name}: not after {seconds} s"))
                    .detail("state", state));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Fails if a unit has failed or keeps failing. Gives those that are not active yet.
    fn check_units(&self) -> Result<String> {
        let units = self.manager.units(&self.units)?;
        for unit in &units {
            // A unit keeps the number as long as it is not stopped.
            let before = self.before.iter().find(|u| u.name() == unit.name());
            let before = before.map_or(0, Unit::restarts);
            if unit.has_failed() || unit.restarts().saturating_sub(before) >= FLAPPING {
                let error = self.failure(unit.name(), format!("{} does not start", unit.name()));
                return Err(error.detail("state", unit.state()));
            }
        }
        Ok(starting(&units).unwrap_or_default())
    }

    fn failure(&self, unit: &str, message: String) -> Error {
        let mut error = Error::new(Kind::Failed, message);
        for line in self.manager.log(unit, LOG_LINES) {
            error = error.detail("log", line);
        }
        error.hint(format!("`usernetes logs {unit}` shows the whole log; what was installed stays, so the same command can be run again"))
    }
}

/// Which units are not active yet.
fn starting(units: &[Unit]) -> Option<String> {
    let waiting: Vec<_> = units.iter().filter(|u| !u.is_active()).collect();
    let first = waiting.first()?;
    let mut text = format!("{} {}", first.name(), first.state());
    if waiting.len() > 1 {
        let _ = write!(text, ", and {} more", waiting.len() - 1);
    }
    Some(text)
}
