//! The record of the ports that the service `ports` keeps published. Other commands read it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::PortSpec;
use crate::error::Result;
use crate::files::write_atomically;
use crate::layout::Layout;
use crate::text;

/// The record. It is in the runtime directory, so it is gone after a reboot, as the ports are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The ports, those of the configuration first.
    #[serde(default)]
    pub ports: Vec<Entry>,
    /// The services whose status has an address that we wrote, such as `service default/web`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub addressed: BTreeSet<String>,
    /// The reason why services are not published by themselves although they should; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

/// A port that somebody wants to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The port, in the form of [`PortSpec`].
    pub port: String,
    /// The object that wants it, such as `service default/web`; empty for the configuration.
    #[serde(default)]
    pub owner: String,
    /// Whether it is open.
    pub open: bool,
    /// The reason why it is not; empty if it is.
    #[serde(default)]
    pub why: String,
}

impl Entry {
    /// The port; `None` if another release wrote it in a form that this one does not know.
    #[must_use]
    pub fn spec(&self) -> Option<PortSpec> {
        self.port.parse().ok()
    }

    /// The port and its owner, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.owner.as_str() {
            "" => self.port.clone(),
            owner => format!("{} ({owner})", self.port),
        }
    }
}

impl Record {
    fn file(layout: &Layout) -> PathBuf {
        layout.runtime("ports.json")
    }

    /// Reads it. It is empty if there is none, or if it is not readable: whatever it said is found out again.
    #[must_use]
    pub fn read(layout: &Layout) -> Self {
        let text = text::read(&Self::file(layout)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes it. It appears completely or not at all.
    pub(super) fn write(&self, layout: &Layout) -> Result<()> {
        write_atomically(&Self::file(layout), crate::render::json(self).as_bytes())
    }

    /// The ports that are wanted and not open.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.ports.iter().filter(|entry| !entry.open)
    }
}
