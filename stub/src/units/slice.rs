//! The slice that all services are in. Its limits are those of the whole cluster.

use super::DOCUMENTATION;
use super::ini::Unit;
use crate::config::{Memory, Resources};

/// The unit of the slice.
pub(super) fn text(resources: &Resources) -> Unit {
    let unit = Unit::default()
        .section("Unit")
        .key("Description", "Usernetes: all services and pods")
        .key("Documentation", DOCUMENTATION)
        // It has limits only while something runs, and nobody has to stop it.
        .key("StopWhenUnneeded", "yes")
        .section("Slice")
        .key("CPUWeight", resources.cpu_weight);
    let unit = match resources.memory {
        Memory::All => unit,
        Memory::Mebibytes(count) => unit.key("MemoryMax", format!("{count}M")),
        Memory::Percent(part) => unit.percent("MemoryMax", part),
    };
    match resources.cpus.milli() {
        // systemd counts whole percent of one processor.
        Some(milli) => unit.percent("CPUQuota", milli.div_ceil(10)),
        None => unit,
    }
}
