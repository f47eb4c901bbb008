//! Everything that `status` says.

use serde_json::{Value, json};

use super::{Broken, Facts, Layer};
use crate::cluster::Current;
use crate::error::Result;

/// Layers, the one that does not work, and the facts beside them.
#[derive(Debug)]
pub struct Report {
    /// The number of the generation.
    pub generation: u64,
    /// Its release.
    pub release: String,
    /// The layers from the bottom up.
    pub layers: Vec<Layer>,
    /// The one that does not work, if there is one.
    pub broken: Option<Broken>,
    /// The facts beside them.
    pub facts: Facts,
}

impl Report {
    /// The report of a cluster with these layers.
    pub fn of(current: &Current, layers: Vec<Layer>) -> Result<Self> {
        Ok(Self {
            generation: current.generation.number(),
            release: current.generation.manifest().release.to_string(),
            broken: Broken::among(&layers, current),
            facts: Facts::of(current)?,
            layers,
        })
    }

    /// The report for scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let days = self.facts.days;
        json!({
            "authority_days": days.authorities, "backups": self.facts.backups, "broken": self.broken, "certificate_days": days.certificates,
            "disk": self.facts.disk, "generation": self.generation, "layers": self.layers,
            "ok": self.broken.is_none(), "ports": self.facts.ports, "release": self.release,
            "rotation": self.facts.rotation,
        })
    }
}
