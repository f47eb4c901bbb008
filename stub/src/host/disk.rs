//! Checks of the file systems for programs, containers' files and keys.

use std::path::Path;

use rustix::fs::StatVfsMountFlags;

use super::cgroup::magic;
use super::{CheckId, Finding, Level, Machine};
use crate::file_system::{FileSystem, Obstacle, obstacle, resolved};

/// Unfit file systems by their magic numbers, which are from linux/magic.h or else from their own sources.
const UNFIT: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0xf15f, "eCryptfs"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
];
const ELSEWHERE: &str = "set XDG_DATA_HOME to a directory of yours on a local disk";

pub(super) fn data_dir(machine: &Machine, dir: &Path) -> Finding {
    match FileSystem::of(dir) {
        Ok(found) => judge(
            &dir.display().to_string(),
            &mount_point(machine, &resolved(found.existing)),
            magic(found.existing),
            found.flags,
        ),
        Err(error) => Finding::new(CheckId::DataDir, Level::Fatal, error.message())
            .expected("a directory of yours, or a place where you can make one")
            .fix(ELSEWHERE),
    }
}

pub(super) fn judge(
    dir: &str,
    mount: &str,
    magic: Option<u64>,
    flags: StatVfsMountFlags,
) -> Finding {
    let on = format!("{dir} is on {mount}");
    if let Some(obstacle) = obstacle(flags) {
        let (name, why) = match obstacle {
            Obstacle::ReadOnly => ("read-only", "a file system that can be written to"),
            Obstacle::Noexec => ("noexec", "a file system from which programs may be run"),
        };
        return Finding::new(
            CheckId::DataDir,
            Level::Fatal,
            format!("{on}, which is mounted {name}"),
        )
        .expected(why)
        .fix(format!(
            "{ELSEWHERE}, or ask an administrator to remove the mount option `{name}`"
        ));
    }
    if let Some((_, name)) = UNFIT.iter().find(|(number, _)| Some(*number) == magic) {
        // These do not keep other users' ids and trusted attributes, and they delay etcd's writes.
        return Finding::new(CheckId::DataDir, Level::Fatal, format!("{on}, which is {name}"))
            .expected("a local file system: containers' files belong to other user ids, and etcd needs a fast disk")
            .fix(ELSEWHERE);
    }
    if flags.contains(StatVfsMountFlags::NOSUID) {
        return Finding::new(
            CheckId::DataDir,
            Level::Note,
            format!("{on}, which is mounted nosuid"),
        )
        .expected("a mount without nosuid, which keeps programs such as `sudo` and `ping` from gaining privileges in containers");
    }
    Finding::ok(CheckId::DataDir, on)
}

/// Where the file system that holds a path is mounted, by the longest matching entry of `/proc/self/mounts`.
fn mount_point(machine: &Machine, path: &Path) -> String {
    let mounts = machine.read("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    // Spaces are written as \040 there, see proc(5).
    let points = points.map(|point| point.replace("\\040", " "));
    let holding = points.filter(|point| path.starts_with(point));
    holding
        .max_by_key(String::len)
        .unwrap_or_else(|| "/".to_owned())
}

/// Configuration and keys are small and rarely read, so any writable file system will do.
pub(super) fn config_dir(dir: &Path) -> Finding {
    let id = CheckId::ConfigDir;
    let obstacle = match FileSystem::of(dir) {
        Ok(found) => obstacle(found.flags),
        Err(error) => {
            return Finding::new(id, Level::Fatal, error.message())
                .expected("a directory of yours, or a place where you can make one")
                .fix("set XDG_CONFIG_HOME to another directory of yours");
        }
    };
    if obstacle == Some(Obstacle::ReadOnly) {
        return Finding::new(
            id,
            Level::Fatal,
            format!("{} is on a read-only file system", dir.display()),
        )
        .expected("a file system that can be written to")
        .fix("set XDG_CONFIG_HOME to another directory of yours");
    }
    Finding::ok(id, dir.display().to_string())
}
