//! Builds the texts that services and the cluster are set up with: command lines, configuration files and Kubernetes
//! objects.

mod args;
mod objects;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use args::Args;
pub(crate) use objects::{cluster_role, cluster_role_binding, group, role, user};

/// A configuration file: its path and its contents, which end with a line feed.
pub type ConfigFile = (PathBuf, String);

/// Indented JSON. Kubernetes accepts it wherever it accepts YAML.
#[expect(
    clippy::expect_used,
    reason = "fails only for maps with keys that are not text, and no type here has any"
)]
pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    text.push('\n');
    text
}

/// TOML.
#[expect(
    clippy::expect_used,
    reason = "fails only for numbers beyond 63 bits and absent values, and no type here has any"
)]
pub(crate) fn toml(value: &impl Serialize) -> String {
    toml::to_string(value).expect("plain data")
}
