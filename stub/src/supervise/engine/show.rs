//! The states in systemd's words, so that whoever asks need not know who runs the services.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use super::{Engine, State};
use crate::config::Target;
use crate::pki::rfc3339;
use crate::services::{UnitName, all_unit_names};
use crate::systemd::Unit;

/// The first microsecond that counts: systemd says 0 for what has not happened.
const FIRST: u128 = 1;

impl Engine {
    /// The states of all units that any configuration has.
    pub(in crate::supervise) fn show(&self) -> Vec<Unit> {
        all_unit_names()
            .iter()
            .map(|name| self.unit(name))
            .collect()
    }

    fn unit(&self, name: &UnitName) -> Unit {
        let mut properties = BTreeMap::from([("Id".to_owned(), name.to_string())]);
        let mut set = |key: &str, value: String| {
            properties.insert(key.to_owned(), value);
        };
        let item = self.items.iter().find(|i| *name == *i.spec.unit);
        let target = self.targets.iter().any(|t| t.as_str() == name.as_str());
        let (load, active, sub) = match item {
            Some(item) => {
                let (active, sub) = words(item.state);
                ("loaded", active, sub)
            }
            None if name.as_str().parse::<Target>().is_err() => ("not-found", "inactive", "dead"),
            None if target => ("loaded", "active", "active"),
            None => ("loaded", "inactive", "dead"),
        };
        set("LoadState", load.to_owned());
        set("ActiveState", active.to_owned());
        set("SubState", sub.to_owned());
        if let Some(item) = item {
            set("NRestarts", item.restarts.to_string());
            set("MainPID", item.pid.unwrap_or_default().to_string());
            set("StatusText", item.status.clone());
            set(
                "ExecMainStartTimestamp",
                item.started.map_or_else(String::new, timestamp),
            );
            set("InactiveExitTimestampMonotonic", self.monotonic(item.begun));
            set("ActiveEnterTimestampMonotonic", self.monotonic(item.ready));
        }
        Unit::new(properties)
    }

    fn monotonic(&self, at: Option<Instant>) -> String {
        let since = |at: Instant| at.saturating_duration_since(self.epoch).as_micros() + FIRST;
        at.map_or_else(|| "0".to_owned(), |at| since(at).to_string())
    }
}

fn words(state: State) -> (&'static str, &'static str) {
    match state {
        State::Stopped => ("inactive", "dead"),
        State::Queued => ("activating", "queued"),
        State::Starting(_) => ("activating", "start"),
        State::Active => ("active", "running"),
        State::StopQueued(_) => ("deactivating", "queued"),
        State::Stopping(..) => ("deactivating", "stop-sigterm"),
        State::Waiting(_) => ("activating", "auto-restart"),
    }
}

/// As `systemctl` prints it in UTC: `Thu 2026-11-26 11:22:41 UTC`. Nobody reads the name of the day.
fn timestamp(at: SystemTime) -> String {
    let text = rfc3339(at);
    let (date, time) = text.split_once('T').unwrap_or_default();
    format!("- {date} {} UTC", time.trim_end_matches('Z'))
}
