//! Which service runs when: the rules that systemd keeps for the units, as a machine of states without processes.
//!
//! It is told what was asked for and what happened, and says what is to be done. Times are given to it, so tests need not
//! wait. The rules are those of [the units](crate::units): a service starts after those it needs, and stops before
//! them; it is started again whenever it ends, after a delay that grows; it stops with those it is bound to, and comes
//! back if an active target upholds it, or if it belongs beside RootlessKit and that starts.

mod requests;
mod show;
mod spec;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use crate::config::Target;
use crate::services::Service;
use crate::units::{RESTART_FIRST, RESTART_LONGEST, RESTART_STEPS, START_PATIENCE};

pub(super) use spec::Spec;
pub(super) use state::End;
use state::{Item, State, Then};

/// A service that ran for so long has recovered: its next restart does not wait longer than its first.
const RECOVERED: Duration = Duration::from_mins(10);

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the program of a service.
    Start(Service),
    /// Ask it to end, with SIGTERM.
    Ask(Service),
    /// Kill everything of it.
    Kill(Service),
    /// A line for the log.
    Say(String),
}

/// The states of all services and targets.
#[derive(Debug)]
pub(super) struct Engine {
    /// In the order they start.
    items: Vec<Item>,
    targets: BTreeSet<Target>,
    ending: bool,
    epoch: Instant,
    actions: Vec<Action>,
}

/// How long to wait before a service is started again, after so many restarts in a row.
pub(super) fn delay(restarts: u32) -> Duration {
    let step = f64::from(restarts.min(RESTART_STEPS)) / f64::from(RESTART_STEPS);
    let growth = RESTART_LONGEST.as_secs_f64() / RESTART_FIRST.as_secs_f64();
    RESTART_FIRST.mul_f64(growth.powf(step))
}

impl Engine {
    /// Nothing runs yet.
    pub(super) fn new(specs: Vec<Spec>, now: Instant) -> Self {
        Self {
            items: specs.into_iter().map(Item::new).collect(),
            targets: BTreeSet::new(),
            ending: false,
            epoch: now,
            actions: Vec::new(),
        }
    }

    /// Whether everything has ended after [`end`](Self::end).
    pub(super) fn has_ended(&self) -> bool {
        self.ending && self.items.iter().all(|i| i.state == State::Stopped)
    }

    /// A program was started.
    pub(super) fn started(&mut self, service: Service, pid: u32, at: SystemTime) {
        let item = self.item(service);
        item.pid = Some(pid);
        item.started = Some(at);
    }

    /// A service says that it is ready.
    pub(super) fn ready(&mut self, service: Service, now: Instant) {
        let item = self.item(service);
        if matches!(item.state, State::Starting(_)) {
            item.state = State::Active;
            item.ready = Some(now);
        }
    }

    /// A service says that it is about to end.
    pub(super) fn announces_end(&mut self, service: Service, now: Instant) {
        let item = self.item(service);
        if matches!(item.state, State::Starting(_) | State::Active) {
            item.state = State::Stopping(Then::Retry, Some(now + item.spec.stop));
            self.stop_bound(service);
        }
    }

    /// A service asks for more time to become ready.
    pub(super) fn extend(&mut self, service: Service, by: Duration, now: Instant) {
        if let State::Starting(deadline) = &mut self.item(service).state {
            *deadline = (*deadline).max(now + by);
        }
    }

    /// A service says something about its state.
    pub(super) fn status(&mut self, service: Service, text: &str) {
        text.clone_into(&mut self.item(service).status);
    }

    /// The program of a service has ended, or could not be started.
    pub(super) fn ended(&mut self, service: Service, end: End, now: Instant) {
        let item = self.item(service);
        item.pid = None;
        item.status.clear();
        let ran = item.begun.map_or(Duration::ZERO, |begun| now - begun);
        match item.state {
            State::StopQueued(then) | State::Stopping(then, _) => self.stopped(service, then, now),
            State::Starting(_) | State::Active => {
                if ran > RECOVERED {
                    item.streak = 0;
                }
                let after = delay(item.streak);
                let how = if item.is_clean(end) { "" } else { " failed:" };
                let text = format!(
                    "{}{how} ended with {}; starting it again in {:.1} s",
                    item.spec.service.as_str(),
                    end.text(),
                    after.as_secs_f64()
                );
                self.actions.push(Action::Say(text));
                self.stopped(service, Then::Retry, now);
                self.stop_bound(service);
            }
            State::Stopped | State::Queued | State::Waiting(_) => {}
        }
    }

    /// What is to be done now, in this order.
    pub(super) fn step(&mut self, now: Instant) -> Vec<Action> {
        self.pass_deadlines(now);
        self.uphold();
        // Each may be what another one waits for.
        while self.ask_next(now) || self.start_next(now) {}
        std::mem::take(&mut self.actions)
    }

    /// When [`step`](Self::step) is to be called at the latest, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = |item: &Item| match item.state {
            State::Starting(at) | State::Waiting(at) => Some(at),
            State::Stopping(_, at) => at,
            _ => None,
        };
        self.items.iter().filter_map(deadline).min()
    }

    fn pass_deadlines(&mut self, now: Instant) {
        for item in &mut self.items {
            match item.state {
                State::Waiting(at) if at <= now => {
                    item.state = State::Queued;
                    item.restarts += 1;
                    item.streak += 1;
                }
                State::Starting(at) if at <= now => {
                    self.actions.push(Action::Say(format!(
                        "{} has not become ready in time; starting it again",
                        item.spec.service.as_str()
                    )));
                    item.state = State::StopQueued(Then::Retry);
                }
                State::Stopping(then, Some(at)) if at <= now => {
                    self.actions.push(Action::Say(format!(
                        "{} has not ended {} s after it was asked to; killing it",
                        item.spec.service.as_str(),
                        item.spec.stop.as_secs()
                    )));
                    self.actions.push(Action::Kill(item.spec.service));
                    item.state = State::Stopping(then, None);
                }
                _ => {}
            }
        }
    }

    /// Starts the services of active targets that are stopped.
    fn uphold(&mut self) {
        let stopped = |item: &&Item| {
            item.state == State::Stopped
                && item.spec.upheld
                && self.targets.contains(&item.spec.target)
        };
        let lost: Vec<_> = self
            .items
            .iter()
            .filter(stopped)
            .map(|i| i.spec.service)
            .collect();
        for service in lost {
            self.queue(service);
        }
    }

    /// Starts one service whose turn it is. Gives whether there was one.
    fn start_next(&mut self, now: Instant) -> bool {
        let free = |item: &&Item| item.state == State::Queued && self.may_start(&item.spec);
        let Some(service) = self.items.iter().find(free).map(|i| i.spec.service) else {
            return false;
        };
        let item = self.item(service);
        item.begun = Some(now);
        item.ready = None;
        if item.spec.notifies {
            item.state = State::Starting(now + START_PATIENCE);
        } else {
            item.state = State::Active;
            item.ready = Some(now);
        }
        self.actions.push(Action::Start(service));
        if service == Service::Rootlesskit {
            let stopped = |item: &&mut Item| item.spec.beside && item.state == State::Stopped;
            for item in self.items.iter_mut().filter(stopped) {
                item.state = State::Queued;
            }
        }
        true
    }

    fn may_start(&self, spec: &Spec) -> bool {
        let states: BTreeMap<_, _> = self
            .items
            .iter()
            .map(|i| (i.spec.service, i.state))
            .collect();
        let state = |service: &Service| states.get(service).copied().unwrap_or(State::Active);
        let bound = spec.binds.iter().all(|s| state(s) == State::Active);
        let after = spec.after.iter().all(|s| match state(s) {
            State::Active | State::Stopped => true,
            // It may fail again and again; only those that need it wait for that.
            State::Waiting(_) => !spec.needs.contains(s),
            _ => false,
        });
        // Those that stop before it come first.
        let later = |item: &&Item| item.spec.after.contains(&spec.service);
        bound && after && !self.items.iter().filter(later).any(Item::is_stopping)
    }

    /// Asks one service whose turn it is to end. Gives whether there was one.
    fn ask_next(&mut self, now: Instant) -> bool {
        let last = |item: &&Item| {
            let later = |other: &&Item| other.spec.after.contains(&item.spec.service);
            matches!(item.state, State::StopQueued(_))
                && !self.items.iter().filter(later).any(Item::is_stopping)
        };
        let Some(service) = self.items.iter().find(last).map(|i| i.spec.service) else {
            return false;
        };
        let item = self.item(service);
        if let State::StopQueued(then) = item.state {
            item.state = State::Stopping(then, Some(now + item.spec.stop));
        }
        self.actions.push(Action::Ask(service));
        true
    }

    fn stopped(&mut self, service: Service, then: Then, now: Instant) {
        let item = self.item(service);
        item.pid = None;
        item.state = match then {
            Then::Stay => State::Stopped,
            Then::Start => State::Queued,
            Then::Retry => State::Waiting(now + delay(item.streak)),
        };
        if then == Then::Stay {
            item.restarts = 0;
            item.streak = 0;
        }
    }

    /// The specs make the services, and only services of the specs are asked for.
    fn item(&mut self, service: Service) -> &mut Item {
        let index = self.items.iter().position(|i| i.spec.service == service);
        &mut self.items[index.unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests;
