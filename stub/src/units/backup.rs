//! The units that make backups by a schedule.

use super::ini::Unit;
use super::timer::{self, persistent};
use crate::config::Schedule;
use crate::layout::Layout;
use crate::protocol;
use crate::services::Services;

/// The timer.
///
/// A machine may be off whenever its backup is due. So the timer also elapses soon after each start, if it is known how old a
/// backup may be, and the service then makes one only if the last is too old.
pub(super) fn timer(services: &Services, schedule: &Schedule) -> Unit {
    let unit = timer::timer("make backups", services);
    let unit = match schedule.interval() {
        Some(_) => unit.key("OnActiveSec", "15min"),
        None => unit,
    };
    unit.key("OnCalendar", schedule)
}

/// The service that the timer starts. It tries again also if a disk is not there yet.
pub(super) fn service(layout: &Layout) -> Unit {
    let words = [protocol::BACKUP, protocol::SCHEDULED];
    let title = "make a backup that is due";
    persistent(title, layout, &words, "u7s-backup").key("TimeoutStartSec", "1h")
}
