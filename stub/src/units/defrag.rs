//! The units that give unused space of etcd's file back.

use super::ini::Unit;
use super::timer::{self, once, unit};
use crate::layout::Layout;
use crate::protocol;
use crate::services::Services;

/// The timer. etcd answers nobody while it works, so machines that start at the same time do not do it at the same time.
pub(super) fn timer(services: &Services) -> Unit {
    timer::timer("look at etcd's file every day", services)
        .key("OnActiveSec", "30min")
        .key("OnCalendar", "daily")
        .key("RandomizedDelaySec", "1h")
}

/// The service that the timer starts. It looks only, unless defragmenting is worth it.
pub(super) fn service(layout: &Layout) -> Unit {
    let unit = unit("give unused space of etcd's file back");
    once(unit, layout, &[protocol::DEFRAGMENT], "u7s-etcd-defrag")
        .key("Nice", 19)
        .key("IOSchedulingClass", "idle")
        .key("TimeoutStartSec", "20min")
}
