//! The targets.

use super::DOCUMENTATION;
use super::ini::Unit;
use super::service::members;
use crate::config::{Config, Target};

/// The unit of a target, if the configuration has anything for it.
pub(super) fn target(target: Target, config: &Config) -> Option<Unit> {
    let (description, part_of, targets): (_, Option<Target>, &[Target]) = match target {
        Target::All => ("everything", None, &[Target::MasterWithEtcd, Target::Node]),
        Target::MasterWithEtcd => (
            "control plane and etcd",
            Some(Target::All),
            &[Target::Etcd, Target::Master],
        ),
        Target::Master => ("control plane", Some(Target::MasterWithEtcd), &[]),
        Target::Etcd => ("etcd", Some(Target::MasterWithEtcd), &[]),
        Target::Node => ("node", Some(Target::All), &[]),
        Target::Nothing => return None,
    };
    let services = members(target, config);
    let targets: Vec<_> = targets
        .iter()
        .filter(|t| **t != Target::Node || !members(**t, config).is_empty())
        .map(Target::to_string)
        .collect();
    let wanted = [services.clone(), targets].concat();
    if wanted.is_empty() {
        return None;
    }
    let part_of: Vec<_> = part_of.iter().map(Target::to_string).collect();
    // `After=` is what makes a start that waits, wait for all of it: systemd orders a target after its services by
    // itself, but not after other targets.
    Some(
        Unit::default()
            .section("Unit")
            .key("Description", format!("Usernetes: {description}"))
            .key("Documentation", DOCUMENTATION)
            .list("PartOf", &part_of)
            .list("Wants", &wanted)
            .list("Upholds", &services)
            .list("After", &wanted)
            .section("Install")
            .key("WantedBy", "default.target"),
    )
}
