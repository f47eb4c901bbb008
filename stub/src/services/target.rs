//! The targets, which group services.

use std::collections::BTreeSet;

use super::Service;
use crate::config::Target;

/// One target.
#[derive(Debug)]
pub struct TargetRow {
    /// The target that this row describes.
    pub target: Target,
    /// Its name for people, used in the description of its unit.
    pub title: &'static str,
    /// The wider target that it belongs to. It is stopped when that one is stopped.
    pub part_of: Option<Target>,
    /// The targets that it starts, besides its own services.
    pub wants: &'static [Target],
}

/// All targets, the widest first.
pub const TARGETS: [TargetRow; 5] = [
    TargetRow {
        target: Target::All,
        title: "everything",
        part_of: None,
        wants: &[Target::MasterWithEtcd, Target::Node],
    },
    TargetRow {
        target: Target::MasterWithEtcd,
        title: "control plane and etcd",
        part_of: Some(Target::All),
        wants: &[Target::Etcd, Target::Master],
    },
    TargetRow {
        target: Target::Etcd,
        title: "etcd",
        part_of: Some(Target::MasterWithEtcd),
        wants: &[],
    },
    TargetRow {
        target: Target::Master,
        title: "control plane",
        part_of: Some(Target::MasterWithEtcd),
        wants: &[],
    },
    TargetRow {
        target: Target::Node,
        title: "node",
        part_of: Some(Target::All),
        wants: &[],
    },
];

/// The target, and every target that is started with it.
#[must_use]
pub fn with_wanted(target: Target) -> BTreeSet<Target> {
    let mut all = BTreeSet::new();
    for row in TARGETS.iter().filter(|row| row.target == target) {
        all.insert(target);
        for wanted in row.wants {
            all.extend(with_wanted(*wanted));
        }
    }
    all
}

/// The first service that starts with a target. It is the last to stop.
pub(super) fn first_service(target: Target) -> Option<Service> {
    let targets = with_wanted(target);
    Service::all().find(|service| targets.contains(&service.row().target))
}
