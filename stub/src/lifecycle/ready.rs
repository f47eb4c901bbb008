//! Waiting until the cluster works.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::api::{Client, ReadyPods, Started, apply, create, dns, node};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::manager::Manager;
use crate::progress::Progress;
use crate::services::UnitName;
use crate::systemd::Unit;

/// Time between two checks of a goal. Each is one request or one process, and each goal of a start ends this much late.
const INTERVAL: Duration = Duration::from_millis(250);
/// Time between two checks of the units, each of which starts a process.
const UNITS_INTERVAL: Duration = Duration::from_secs(2);
/// How long each goal may take. The slowest machine seen needed two minutes for all of them.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);
/// A unit that has restarted this often will not become ready.
const FLAPPING: u32 = 5;
/// The number of log lines that are shown of a unit that is late.
const LOG_LINES: u32 = 20;

/// A part of an installation, and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// The step.
    pub name: String,
    /// The time it took.
    pub seconds: f64,
}

/// Does something and records the time it took.
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

/// The state of a goal.
enum State {
    Reached,
    /// The reason why it is not reached yet; if it is empty, the units that are not active yet.
    Pending(String),
}

impl State {
    fn of(reached: std::result::Result<(), String>) -> Self {
        reached.map_or_else(Self::Pending, |()| Self::Reached)
    }
}

/// Waits for one goal after the other, and fails early if a unit fails.
pub(crate) struct Waiter<'a> {
    manager: &'a dyn Manager,
    progress: &'a Progress,
    units: Vec<UnitName>,
    /// All units before anything was started.
    before: Vec<Unit>,
    /// How long each goal may take.
    patience: Duration,
}

impl<'a> Waiter<'a> {
    /// `units` are those that must become active, `before` all units before anything was started.
    pub(crate) fn new(
        manager: &'a dyn Manager,
        progress: &'a Progress,
        units: Vec<UnitName>,
        before: Vec<Unit>,
        patience: Duration,
    ) -> Self {
        Self {
            manager,
            progress,
            units,
            before,
            patience,
        }
    }

    /// When a unit was started, RFC 3339 in UTC; `None` if it was running before. The API server may still report the state
    /// of the unit's previous run.
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

    /// Waits until the API server answers. It takes objects then, though it makes its own roles for some time yet.
    pub(crate) fn api_answers(&self, client: &Client) -> Result<Phase> {
        self.api(client, "API server answers", |_| true)
    }

    /// Waits until the API server reports that it is ready.
    pub(crate) fn api_ready(&self, client: &Client) -> Result<Phase> {
        self.api(client, "API server ready", |status| status == 200)
    }

    fn api(&self, client: &Client, name: &str, is_enough: fn(u16) -> bool) -> Result<Phase> {
        self.wait(name, "u7s-kube-apiserver.service", || {
            Ok(match client.get("/readyz") {
                Ok(answer) if is_enough(answer.status) => State::Reached,
                Ok(answer) => State::Pending(format!("it answers {}", answer.status)),
                // Nothing listens yet, or with another certificate. The unit's log has the reason.
                Err(_) => State::Pending(String::new()),
            })
        })
    }

    /// Waits until the API server has accepted the objects, and has those that are only created. The first namespaces appear
    /// only after it answers.
    pub(crate) fn apply(
        &self,
        client: &Client,
        objects: &[Value],
        create_only: &[Value],
    ) -> Result<Phase> {
        self.wait(
            "roles and CoreDNS applied",
            "u7s-kube-apiserver.service",
            || {
                let refused = match apply(client, objects)? {
                    None => create(client, create_only)?,
                    refused => refused,
                };
                Ok(refused.map_or(State::Reached, State::Pending))
            },
        )
    }

    /// Waits until the node is ready. If the kubelet was started now, only its own report counts.
    pub(crate) fn node(&self, client: &Client, config: &Config, kubelet: &Unit) -> Result<Phase> {
        let since = self.started(kubelet);
        self.wait("node Ready", kubelet.name(), || {
            Ok(State::of(node(client, config, since.as_deref())))
        })
    }

    /// Waits until CoreDNS runs and answers. If the container runtime was started now, only a pod of that one counts.
    pub(crate) fn dns(
        &self,
        client: &Client,
        config: &Config,
        runtime: &Unit,
        kubelet: &str,
    ) -> Result<Phase> {
        let since = self.started(runtime);
        let started = Started::of(config, since.as_deref());
        self.wait("CoreDNS running", kubelet, || {
            Ok(State::of(dns(client, started)))
        })
    }

    /// Waits until pods that were ready are ready again.
    pub(crate) fn pods(
        &self,
        client: &Client,
        ready: &ReadyPods,
        started: Option<Started<'_>>,
    ) -> Result<Phase> {
        self.wait("pods ready again", "u7s-rootlesskit.service", || {
            Ok(State::of(ready.are_back(client, started)))
        })
    }

    /// Checks again and again. `culprit` is the unit whose log explains a delay; if it is empty, the first unit that is not
    /// active.
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
                // The server may be restarting. If it does not come back, its unit has failed, which is checked below.
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
            if started.elapsed() > self.patience {
                let seconds = self.patience.as_secs();
                let units = self.manager.units(&self.units)?;
                let first = units.iter().find(|u| !u.is_active()).map_or("", Unit::name);
                let unit = if culprit.is_empty() { first } else { culprit };
                return Err(self
                    .failure(unit, format!("{name}: not reached after {seconds} s"))
                    .detail("state", state));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Fails if a unit has failed or keeps restarting. Gives the units that are not active yet, as text.
    fn check_units(&self) -> Result<String> {
        let units = self.manager.units(&self.units)?;
        for unit in &units {
            // systemd counts restarts until a unit is stopped.
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
        error.hint(format!("`usernetes logs {unit}` shows the whole log; the installation is complete, so you can run the same command again"))
    }
}

/// The units that are not active yet, as text; `None` if all are.
fn starting(units: &[Unit]) -> Option<String> {
    let waiting: Vec<_> = units.iter().filter(|u| !u.is_active()).collect();
    let first = waiting.first()?;
    let mut text = format!("{} {}", first.name(), first.state());
    if waiting.len() > 1 {
        let _ = write!(text, ", and {} more", waiting.len() - 1);
    }
    Some(text)
}
