//! The units that give unused space of etcd's file back.

use super::DOCUMENTATION;
use super::ini::{Unit, command};
use super::service::environment;
use crate::layout::Layout;
use crate::protocol;
use crate::services::{Service, Services};

/// The timer. RootlessKit starts and stops it. etcd answers nobody while it works, so machines that start at the same time
/// do not do it at the same time.
pub(super) fn timer(services: &Services) -> Unit {
    Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: look at etcd's file every day")
        .key("Documentation", DOCUMENTATION)
        .list("PartOf", &services.units(&[Service::Rootlesskit]))
        .section("Timer")
        .key("OnActiveSec", "30min")
        .key("OnCalendar", "daily")
        .key("RandomizedDelaySec", "1h")
}

/// The service that the timer starts. It looks only, unless defragmenting is worth it.
pub(super) fn service(layout: &Layout) -> Unit {
    let words = [protocol::DEFRAGMENT];
    Unit::default()
        .section("Unit")
        .key(
            "Description",
            "Usernetes: give unused space of etcd's file back",
        )
        .key("Documentation", DOCUMENTATION)
        .section("Service")
        .key("Type", "oneshot")
        .key("ExecStart", command(&layout.program("usernetes"), &words))
        .key("Environment", environment(layout))
        .key("SyslogIdentifier", "u7s-etcd-defrag")
        .key("Nice", 19)
        .key("IOSchedulingClass", "idle")
        .key("TimeoutStartSec", "20min")
}
