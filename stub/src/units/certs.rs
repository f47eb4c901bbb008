//! The units that renew certificates every day.

use super::DOCUMENTATION;
use super::ini::{Unit, command};
use super::service::environment;
use crate::layout::Layout;
use crate::protocol;
use crate::services::{Service, Services};

/// The timer. RootlessKit starts and stops it, so it runs as long as any part of the cluster does.
///
/// It also elapses soon after each start, so it needs no file in which systemd would remember the last time. If the clock
/// is set forward, or the machine wakes up after days, `OnCalendar=` elapses at once.
pub(super) fn timer(services: &Services) -> Unit {
    Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: renew certificates every day")
        .key("Documentation", DOCUMENTATION)
        .list("PartOf", &services.units(&[Service::Rootlesskit]))
        .section("Timer")
        // By then the network is up, and all addresses of the machine are known.
        .key("OnActiveSec", "2min")
        .key("OnCalendar", "daily")
}

/// The service that the timer starts.
pub(super) fn service(layout: &Layout) -> Unit {
    let words = [protocol::CERTS, protocol::RENEW, protocol::DUE];
    Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: renew certificates that are due")
        .key("Documentation", DOCUMENTATION)
        .key("StartLimitIntervalSec", 0)
        .section("Service")
        .key("Type", "oneshot")
        .key("ExecStart", command(&layout.program("usernetes"), &words))
        .key("Environment", environment(layout))
        .key("SyslogIdentifier", "u7s-certs")
        // Another command may have been changing the installation.
        .key("Restart", "on-failure")
        .key("RestartSec", "10min")
        .key("TimeoutStartSec", "10min")
}
