//! The units of targets.

use super::DOCUMENTATION;
use super::ini::Unit;
use crate::services::{Services, TargetRow, UnitName};

/// The unit of a target; `None` if the configuration has nothing for it to start.
pub(super) fn text(row: &TargetRow, services: &Services) -> Option<Unit> {
    let own = services.units(&services.upheld_by(row.target));
    let targets = row.wants.iter().filter(|target| services.reached(**target));
    let targets: Vec<_> = targets.map(|target| UnitName::target(*target)).collect();
    let wanted = [own.clone(), targets].concat();
    if wanted.is_empty() {
        return None;
    }
    let part_of: Vec<_> = row.part_of.into_iter().map(UnitName::target).collect();
    // systemd orders a target after its services by itself, but not after other targets. `After=` adds these, so that
    // `systemctl start` returns only when everything has started.
    Some(
        Unit::default()
            .section("Unit")
            .key("Description", format!("Usernetes: {}", row.title))
            .key("Documentation", DOCUMENTATION)
            .list("PartOf", &part_of)
            .list("Wants", &wanted)
            .list("Upholds", &own)
            .list("After", &wanted)
            .section("Install")
            .key("WantedBy", "default.target"),
    )
}
