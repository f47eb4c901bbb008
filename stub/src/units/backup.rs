//! The units that make backups by a schedule.

use super::DOCUMENTATION;
use super::ini::{Unit, command};
use super::service::environment;
use crate::config::Schedule;
use crate::layout::Layout;
use crate::protocol;
use crate::services::{Service, Services};

/// The timer. RootlessKit starts and stops it, as the one for certificates.
///
/// A machine may be off whenever its backup is due. So the timer also elapses soon after each start, if it is known how old a
/// backup may be, and the service then makes one only if the last is too old.
pub(super) fn timer(services: &Services, schedule: &Schedule) -> Unit {
    let unit = Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: make backups")
        .key("Documentation", DOCUMENTATION)
        .list("PartOf", &services.units(&[Service::Rootlesskit]))
        .section("Timer");
    let unit = match schedule.interval() {
        Some(_) => unit.key("OnActiveSec", "15min"),
        None => unit,
    };
    unit.key("OnCalendar", schedule)
}

/// The service that the timer starts.
pub(super) fn service(layout: &Layout) -> Unit {
    let words = [protocol::BACKUP, protocol::SCHEDULED];
    Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: make a backup that is due")
        .key("Documentation", DOCUMENTATION)
        .key("StartLimitIntervalSec", 0)
        .section("Service")
        .key("Type", "oneshot")
        .key("ExecStart", command(&layout.program("usernetes"), &words))
        .key("Environment", environment(layout))
        .key("SyslogIdentifier", "u7s-backup")
        // Another command may have been changing the installation, or a disk may not be there yet.
        .key("Restart", "on-failure")
        .key("RestartSec", "10min")
        .key("TimeoutStartSec", "1h")
}
