//! `builder lock --update` against upstreams that do as they should, and against those that do not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;
mod choice;
mod command;
mod github;
mod limits;
mod registry;
mod release;
mod world;

use builder::lockfile::{Artifact, Lockfile};
use stub::bundle::{Arch, Name};

use world::{Release, World, sums};

/// A recipe whose releases are on GitHub, one file for each architecture.
const TOOL: &str = r#"
summary = "a tool"
homepage = "https://example.org"
license = "MIT"
version = { from = "github", repository = "example/tool", tag = "v{version}", allow = "~1.2" }

[[artifact]]
urls = ["https://github.com/example/tool/releases/download/v{version}/tool-{goarch}"]
format = "plain"
checks = [CHECKS]
file = [{ to = "bin/tool" }]
"#;

const CHECKSUMS: &str = r#"{ by = "checksums", url = "https://github.com/example/tool/releases/download/v{version}/SHA256SUMS" }"#;
const GITHUB: &str = r#"{ by = "github-digest" }"#;
const REPOSITORY: &str = "example/tool";

/// A world with the recipe `tool` and these checks.
fn world(checks: &[&str]) -> World {
    let mut world = World::new();
    world.recipe("tool", &TOOL.replace("CHECKS", &checks.join(", ")));
    world
}

/// A release of the tool, with its file of digests.
fn release(version: &str) -> Release {
    let amd64 = format!("{version} for amd64").into_bytes();
    let arm64 = format!("{version} for arm64").into_bytes();
    let sums = sums(&[("tool-amd64", &amd64), ("tool-arm64", &arm64)]);
    let files: [(&str, &[u8]); 3] = [
        ("SHA256SUMS", &sums),
        ("tool-amd64", &amd64),
        ("tool-arm64", &arm64),
    ];
    Release::new(&format!("v{version}"), &files)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The version of a component, and its first download for an architecture.
fn pinned<'a>(lockfile: &'a Lockfile, component: &str, arch: Arch) -> (&'a str, &'a Artifact) {
    let component = &lockfile.components[&name(component)];
    (component.version.as_str(), &component.artifacts[&arch][0])
}

fn version<'a>(lockfile: &'a Lockfile, component: &str) -> &'a str {
    pinned(lockfile, component, Arch::X86_64).0
}
