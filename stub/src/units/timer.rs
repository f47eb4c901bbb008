//! What the timers and the services that they start have in common.

use super::DOCUMENTATION;
use super::ini::{Unit, command};
use super::service::environment;
use crate::layout::Layout;
use crate::services::{Service, Services};

/// A timer, without its times. RootlessKit starts and stops it, so it runs as long as any part of the cluster does.
pub(super) fn timer(title: &str, services: &Services) -> Unit {
    unit(title)
        .list("PartOf", &services.units(&[Service::Rootlesskit]))
        .section("Timer")
}

/// The first section of a unit with this title.
pub(super) fn unit(title: &str) -> Unit {
    Unit::default()
        .section("Unit")
        .key("Description", format!("Usernetes: {title}"))
        .key("Documentation", DOCUMENTATION)
}

/// Adds the section of a service that runs this program once, with these arguments. Its lines in the log have this name.
pub(super) fn once(unit: Unit, layout: &Layout, words: &[&str], name: &str) -> Unit {
    unit.section("Service")
        .key("Type", "oneshot")
        .key("ExecStart", command(&layout.program("usernetes"), words))
        .key("Environment", environment(layout))
        .key("SyslogIdentifier", name)
}

/// A service that runs once, and again after some minutes if it fails: another command may be changing the installation.
pub(super) fn persistent(title: &str, layout: &Layout, words: &[&str], name: &str) -> Unit {
    let unit = unit(title).key("StartLimitIntervalSec", 0);
    once(unit, layout, words, name)
        .key("Restart", "on-failure")
        .key("RestartSec", "10min")
}
