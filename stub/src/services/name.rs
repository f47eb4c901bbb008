//! The names of units.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::all_unit_names;
use crate::config::Target;
use crate::error::{Error, Kind, Result};

/// The full name of one of our units, for example `u7s-etcd.service`. There are values only for the units of
/// [`SERVICES`](super::SERVICES) and [`TARGETS`](super::TARGETS), for those that timers start, for the slice, and for
/// units of other releases that a receipt [records](Self::recorded).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnitName(String);

impl UnitName {
    /// The unit of the service with this name.
    pub(super) fn service(name: impl fmt::Display) -> Self {
        Self(format!("u7s-{name}.service"))
    }

    /// The unit of a target; empty for [`Target::Nothing`].
    #[must_use]
    pub fn target(target: Target) -> Self {
        Self(target.as_str().to_owned())
    }

    /// The service that renews certificates.
    #[must_use]
    pub fn renewal() -> Self {
        Self::service("certs")
    }

    /// The timer that starts this service every day.
    #[must_use]
    pub fn renewal_timer() -> Self {
        Self("u7s-certs.timer".to_owned())
    }

    /// The service that gives space of etcd's file back.
    #[must_use]
    pub fn defragmentation() -> Self {
        Self::service("etcd-defrag")
    }

    /// The timer that starts this service every day.
    #[must_use]
    pub fn defragmentation_timer() -> Self {
        Self("u7s-etcd-defrag.timer".to_owned())
    }

    /// The service that makes a backup.
    #[must_use]
    pub fn backup() -> Self {
        Self::service("backup")
    }

    /// The timer that starts it by the schedule of the configuration.
    #[must_use]
    pub fn backup_timer() -> Self {
        Self("u7s-backup.timer".to_owned())
    }

    /// The slice that all services are in. It is no unit to start or stop: it is there while any of them runs.
    #[must_use]
    pub fn slice() -> Self {
        Self("u7s.slice".to_owned())
    }

    /// The name of a unit that another release has installed, which this one need not know; `None` if no release of ours names
    /// a unit like this.
    #[must_use]
    pub fn recorded(name: &str) -> Option<Self> {
        let stem = [".service", ".target", ".timer", ".path", ".socket"]
            .iter()
            .find_map(|end| name.strip_suffix(end))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let ours = stem == "u7s" || stem.starts_with("u7s-");
        (ours && stem.chars().all(plain)).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Accepts shortened names: `etcd`, `u7s-etcd`, `u7s-etcd.service`, `u7s` and `master.target` are all valid.
impl FromStr for UnitName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let names = all_unit_names();
        let candidates = [
            text.to_owned(),
            format!("{text}.service"),
            format!("u7s-{text}.service"),
            format!("u7s-{text}"),
            format!("{text}.target"),
            format!("u7s-{text}.target"),
        ];
        let known = candidates
            .into_iter()
            .find_map(|name| names.get(name.as_str()).cloned());
        known.ok_or_else(|| {
            let names: Vec<_> = names.iter().map(Self::as_str).collect();
            Error::new(Kind::Usage, format!("there is no unit {text:?}")).expected(names.join(", "))
        })
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for UnitName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}
