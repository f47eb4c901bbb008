//! The texts that services are started with: command lines, configuration files, objects of Kubernetes.

mod args;
mod objects;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use args::Args;
pub(crate) use objects::{cluster_role, cluster_role_binding, user};

/// A configuration file: where it lies and what it says. It ends with a line feed.
pub type ConfigFile = (PathBuf, String);

/// JSON as a person reads it. Kubernetes takes it wherever it takes YAML.
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
