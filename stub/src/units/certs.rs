//! The units that renew certificates every day.

use super::ini::Unit;
use super::timer::{self, persistent};
use crate::layout::Layout;
use crate::protocol;
use crate::services::Services;

/// The timer.
///
/// It also elapses soon after each start, so it needs no file in which systemd would remember the last time. If the clock
/// is set forward, or the machine wakes up after days, `OnCalendar=` elapses at once.
pub(super) fn timer(services: &Services) -> Unit {
    timer::timer("renew certificates every day", services)
        // By then the network is up, and all addresses of the machine are known.
        .key("OnActiveSec", "2min")
        .key("OnCalendar", "daily")
}

/// The service that the timer starts.
pub(super) fn service(layout: &Layout) -> Unit {
    let words = [protocol::CERTS, protocol::RENEW, protocol::DUE];
    let title = "renew certificates that are due";
    persistent(title, layout, &words, "u7s-certs").key("TimeoutStartSec", "10min")
}
