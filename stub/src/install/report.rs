//! The report of an installation, for people and scripts.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::config::Change;
use crate::host::Finding;
use crate::lifecycle::Phase;
use crate::services::Service;

/// The result of `install`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Number of the generation that is current now.
    pub generation: u64,
    /// Its release.
    pub release: String,
    /// Whether anything had to be changed.
    pub changed: bool,
    /// The work that was needed.
    pub outcome: Outcome,
    /// Settings that differ from those of the last installation.
    pub changes: Vec<Change>,
    /// The copy of a `config.toml` that was replaced by the one of an earlier generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_config: Option<PathBuf>,
    /// The unit that was started; empty if none was.
    pub started: String,
    /// Services that the configuration needs and the bundle has no program for.
    #[serde(serialize_with = "names")]
    pub missing: Vec<Service>,
    /// Findings about the machine that did not prevent the installation.
    pub findings: Vec<Finding>,
    /// The directory with all programs.
    #[serde(skip)]
    pub bin: PathBuf,
    /// The administrator's kubeconfig; empty on a worker.
    pub kubeconfig: PathBuf,
    /// Whether the units outlive the login.
    pub lingering: bool,
    /// How long each step took; empty if there was nothing to do.
    pub phases: Vec<Phase>,
}

fn names<S: Serializer>(services: &[Service], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(services.iter().map(|service| service.as_str()))
}

/// The work that an installation needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is a new generation.
    New,
    /// The generation existed, but another one was current.
    Reactivated,
    /// The generation was current, but damaged.
    Repaired,
    /// Only certificates were renewed.
    Renewed,
    /// Only settings or units have changed.
    Reconfigured,
    /// Nothing.
    Unchanged,
}

/// The end of a sentence that begins with the generation.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "is installed and is now the current one",
            Self::Reactivated => "existed already and is now the current one",
            Self::Repaired => "was damaged and has been repaired",
            Self::Renewed => "is unchanged; its certificates have been renewed",
            Self::Reconfigured => "is unchanged; its settings or units have been updated",
            Self::Unchanged => "is unchanged: there was nothing to do",
        })
    }
}
