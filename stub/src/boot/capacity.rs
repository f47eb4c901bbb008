//! How much memory, disk and so on there is for pods.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::statvfs;

use crate::components::kubelet::Capacity;
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;

/// Where the control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Looks at the machine. This process must not have entered the namespaces yet, because only outside of them it sees the
/// control groups above its own.
pub(super) fn capacity(layout: &Layout) -> Result<Capacity> {
    let memory = memory(&fs::read_to_string("/proc/meminfo")?)?;
    let own = own_cgroup(&fs::read_to_string("/proc/self/cgroup")?)?;
    let limit = |file| lowest(Path::new(CGROUPS), &own, file);
    // The kubelet takes the smaller of the two for the number of processes that the machine can have.
    let pids = ["pid_max", "threads-max"].map(|name| number(&format!("/proc/sys/kernel/{name}")));
    let pids = pids.into_iter().collect::<Result<Vec<_>>>()?;
    let pids = pids.into_iter().min().unwrap_or_default();
    let data = layout.data_dir();
    let disk = statvfs(data)
        .map_err(io::Error::from)
        .about(|| data.display())?;
    Ok(Capacity {
        memory,
        memory_limit: limit("memory.max")?,
        cpus: processors(&fs::read_to_string("/proc/cpuinfo")?),
        pids,
        pids_limit: limit("pids.max")?,
        disk: disk.f_blocks * disk.f_frsize,
        inodes: disk.f_files,
    })
}

/// The machine's memory in bytes: `MemTotal` of `/proc/meminfo`, as the kubelet reads it.
fn memory(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|count| count * 1024).ok_or_else(|| {
        Error::new(Kind::Host, "/proc/meminfo cannot be read").expected("a line `MemTotal: … kB`")
    })
}

/// The machine's processors. The standard library would count only those that the limit of our own slice leaves.
fn processors(cpuinfo: &str) -> u32 {
    let lines = cpuinfo.lines();
    let count = lines.filter(|line| line.split([' ', '\t', ':']).next() == Some("processor"));
    u32::try_from(count.count()).unwrap_or(u32::MAX).max(1)
}

/// The control group of this process, below the mount.
fn own_cgroup(text: &str) -> Result<PathBuf> {
    let line = text.lines().find_map(|line| line.strip_prefix("0::/"));
    line.map(PathBuf::from).ok_or_else(|| {
        Error::new(
            Kind::Host,
            "/proc/self/cgroup names no control group of version 2",
        )
        .found(format!("`{}`", text.escape_debug()))
    })
}

/// The lowest limit in the file of this name in the groups above a control group; `None` if there is none. The group itself
/// does not count: it is the kubelet's, and pods are not in it.
fn lowest(mount: &Path, group: &Path, file: &str) -> Result<Option<u64>> {
    let mut lowest = None;
    for group in group.ancestors().skip(1) {
        let path = mount.join(group).join(file);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == "max" => {}
            Ok(text) => {
                let limit = parsed(&path, &text)?;
                lowest = Some(lowest.map_or(limit, |lowest: u64| lowest.min(limit)));
            }
            // The uppermost group has no limits, and a controller may be missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lowest)
}

fn number(path: &str) -> Result<u64> {
    parsed(Path::new(path), &fs::read_to_string(path)?)
}

/// The number in the text of a file.
fn parsed(path: &Path, text: &str) -> Result<u64> {
    text.trim().parse().map_err(|_| {
        Error::new(Kind::Host, format!("{}: not a number", path.display()))
            .found(format!("`{}`", text.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       16303428 kB\nMemFree:          230812 kB\n";
        assert_eq!(memory(text).unwrap(), 16_303_428 * 1024);
        assert!(memory("MemFree: 1 kB\n").is_err());
    }

    #[test]
    fn processors_are_counted() {
        let one = |number: u32| format!("processor\t: {number}\nmodel name\t: a processor\n\n");
        assert_eq!(processors(&(one(0) + &one(1) + &one(2))), 3);
        assert_eq!(processors(""), 1);
    }

    #[test]
    fn the_lowest_limit_of_the_groups_above_counts() {
        let dir = tempfile::tempdir().unwrap();
        let own = own_cgroup("0::/user.slice/u7s.slice/kubelet.service\n").unwrap();
        fs::create_dir_all(dir.path().join(&own)).unwrap();
        let lowest = || lowest(dir.path(), &own, "pids.max").unwrap();
        assert_eq!(lowest(), None);
        for (group, limit) in [
            ("user.slice", "5000\n"),
            ("user.slice/u7s.slice", "4000\n"),
            ("user.slice/u7s.slice/kubelet.service", "70\n"),
        ] {
            fs::write(dir.path().join(group).join("pids.max"), limit).unwrap();
        }
        assert_eq!(lowest(), Some(4000));
        assert!(own_cgroup("12:pids:/user.slice\n").is_err());
    }
}
