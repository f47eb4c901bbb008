//! The targets, which group services.

use std::collections::BTreeSet;

use super::Service;
use crate::config::Target;

/// One target.
#[derive(Debug)]
pub struct TargetRow {
    /// Which.
    pub target: Target,
    /// A few words about it for people.
    pub title: &'static str,
    /// The target that stops it when that is stopped.
    pub part_of: Option<Target>,
    /// The targets it starts, besides its own services.
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

/// The target and every target that starting it starts.
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

/// The first service that starts with a target, which is the last to stop.
pub(super) fn first_service(target: Target) -> Option<Service> {
    let targets = with_wanted(target);
    Service::all().find(|service| targets.contains(&service.row().target))
}
