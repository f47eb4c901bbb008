//! What pods may use of a machine, and when they are evicted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Resources;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much the machine has. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Its memory.
    pub memory: u64,
    /// How much memory the user's programs may have, if that is limited.
    pub memory_limit: Option<u64>,
    /// Its processors.
    pub cpus: u32,
    /// How many processes and threads it can have.
    pub pids: u64,
    /// How many of them the user may have, if that is limited.
    pub pids_limit: Option<u64>,
    /// The size of the file system with images, containers and volumes.
    pub disk: u64,
    /// How many files that file system can hold; 0 if it has no such limit.
    pub inodes: u64,
}

/// The bounds, as the kubelet reads them.
pub(super) struct Bounds {
    pub(super) reserved: Reserved,
    /// Below these amounts, the kubelet evicts pods.
    pub(super) eviction_hard: BTreeMap<&'static str, String>,
    /// Above this use of the disk, in percent, the kubelet removes images that no container uses…
    pub(super) image_gc_high: u8,
    /// … until this one is reached.
    pub(super) image_gc_low: u8,
}

/// The part of the machine that pods do not get: the control plane's, and whatever is outside the cluster's budget.
#[derive(Serialize)]
pub(super) struct Reserved {
    cpu: String,
    memory: String,
    pid: String,
}

impl Bounds {
    pub(super) fn of(capacity: &Capacity, resources: &Resources) -> Self {
        let disk = Disk::of(capacity);
        let low = |all: u64, percent: u64, most: u64| (all / 100 * percent).min(most);
        let inodes = match low(capacity.inodes, 5, 100_000) {
            0 => "5%".to_owned(),
            count => count.to_string(),
        };
        let eviction_hard = [
            ("imagefs.available", disk.full.to_string()),
            ("imagefs.inodesFree", inodes.clone()),
            ("memory.available", (100 * MIB).to_string()),
            ("nodefs.available", disk.full.to_string()),
            ("nodefs.inodesFree", inodes),
            ("pid.available", "5%".to_owned()),
        ];
        Self {
            reserved: Reserved::of(capacity, resources),
            eviction_hard: eviction_hard.into(),
            image_gc_high: disk.gc_high,
            image_gc_low: disk.gc_low,
        }
    }
}

impl Reserved {
    fn of(capacity: &Capacity, resources: &Resources) -> Self {
        let memory = resources.memory.bytes(capacity.memory);
        let memory = memory.min(capacity.memory_limit.unwrap_or(u64::MAX));
        let memory = capacity.memory - memory.min(capacity.memory) + control_plane(memory);
        let all = capacity.cpus * 1000;
        let cpu = all - resources.cpus.milli().unwrap_or(all).min(all);
        // All pods together leave a quarter to the user's other programs, among them the control plane.
        let pids = capacity.pids_limit.unwrap_or(capacity.pids);
        let pids = capacity.pids - (pids.min(capacity.pids) / 4 * 3);
        Self {
            cpu: format!("{cpu}m"),
            memory: memory.to_string(),
            pid: pids.to_string(),
        }
    }
}

/// How much of the cluster's memory the control plane gets, besides the kubelet and the container runtime: a quarter of the
/// first 4 GiB, a tenth of the rest, and at most 4 GiB. An empty cluster uses 0.5 GiB.
fn control_plane(memory: u64) -> u64 {
    let first = memory.min(4 * GIB);
    (first / 4 + (memory - first) / 10).min(4 * GIB)
}

/// With less than this many free bytes on a file system of this size, the kubelet evicts pods: 3 %, and at most 2 GiB.
#[must_use]
pub fn full_below(size: u64) -> u64 {
    (size / 100 * 3).min(2 * GIB)
}

/// When the disk counts as full. Homes are often on nearly full disks, and a few percent of a big disk are a lot.
struct Disk {
    /// With less than this many free bytes, pods are evicted.
    full: u64,
    gc_high: u8,
    gc_low: u8,
}

impl Disk {
    fn of(capacity: &Capacity) -> Self {
        let part = |percent: u64, most: u64| (capacity.disk / 100 * percent).min(most);
        // Images go before pods do.
        let scarce = part(5, 10 * GIB);
        // Rounded so that at least this much is free. The kubelet wants whole percent.
        let free = scarce.saturating_mul(100).div_ceil(capacity.disk.max(1));
        let free = u8::try_from(free.clamp(1, 5)).unwrap_or(5);
        Self {
            full: full_below(capacity.disk),
            gc_high: 100 - free,
            gc_low: 100 - 2 * free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Capacity = Capacity {
        memory: 16 * GIB,
        memory_limit: None,
        cpus: 4,
        pids: 32_000,
        pids_limit: None,
        disk: 100 * GIB,
        inodes: 6_000_000,
    };

    /// What pods get of the memory, in MiB.
    fn memory(capacity: Capacity, budget: &str) -> u64 {
        let resources = Resources {
            memory: budget.parse().unwrap(),
            ..Resources::default()
        };
        let reserved = Reserved::of(&capacity, &resources).memory;
        (capacity.memory - reserved.parse::<u64>().unwrap()) / MIB
    }

    #[test]
    fn pods_get_the_budget_without_the_control_planes_part() {
        let of = |gib: u64| Capacity {
            memory: gib * GIB,
            ..MACHINE
        };
        assert_eq!(memory(of(2), ""), 1536);
        assert_eq!(memory(of(16), ""), 16384 - 1024 - 1228 - 1);
        assert_eq!(memory(of(256), ""), 252 * 1024);
        assert_eq!(memory(of(64), "4GiB"), 3 * 1024);
        assert_eq!(memory(of(16), "25%"), 3 * 1024 - 1);
        // A budget may be larger than the machine, and the administrator's limit smaller.
        assert_eq!(memory(of(4), "64GiB"), 3 * 1024);
        let limited = Capacity {
            memory_limit: Some(4 * GIB),
            ..MACHINE
        };
        assert_eq!(memory(limited, ""), 3 * 1024);
        assert_eq!(memory(limited, "2GiB"), 1536);
    }

    #[test]
    fn pods_leave_processors_and_processes_to_others() {
        let reserved = |pids_limit, cpus: &str| {
            let capacity = Capacity {
                pids_limit,
                ..MACHINE
            };
            let resources = Resources {
                cpus: cpus.parse().unwrap(),
                ..Resources::default()
            };
            let reserved = Reserved::of(&capacity, &resources);
            (reserved.cpu, reserved.pid)
        };
        let is = |cpu: &str, pid: &str| (cpu.to_owned(), pid.to_owned());
        assert_eq!(reserved(None, ""), is("0m", "8000"));
        assert_eq!(reserved(Some(10_000), "1.5"), is("2500m", "24500"));
        assert_eq!(reserved(Some(1 << 40), "64"), is("0m", "8000"));
    }

    #[test]
    fn a_disk_is_full_at_a_few_percent_but_never_with_much_space_left() {
        for (size, full, thresholds) in [
            (10 * GIB, 10 * GIB / 100 * 3, (95, 90)),
            (100 * GIB, 2 * GIB, (95, 90)),
            (500 * GIB, 2 * GIB, (98, 96)),
            (2048 * GIB, 2 * GIB, (99, 98)),
            (0, 0, (99, 98)),
        ] {
            let capacity = Capacity {
                disk: size,
                ..MACHINE
            };
            let disk = Disk::of(&capacity);
            assert_eq!(
                (disk.full, (disk.gc_high, disk.gc_low)),
                (full, thresholds),
                "{size}"
            );
        }
    }
}
