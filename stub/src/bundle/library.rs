//! The libraries that are linked into the stub.

use serde::{Deserialize, Serialize};

/// A library that is part of the stub's program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The copyright lines of its licence files, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copyright: Vec<String>,
    /// SPDX licence expression.
    pub license: String,
    /// Where it is from, as a package URL.
    pub purl: String,
    /// Digest of the package its sources came in, as `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}
