//! Control groups: their version, and the controllers that the user may use.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs};

use super::{CheckId, Finding, Level, Machine};
use crate::config::{Config, Cri};

const MOUNT: &str = "/sys/fs/cgroup";
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// Without these there are no limits for pods.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
const DROP_IN: &str = "/etc/systemd/system/user@.service.d/usernetes-delegate.conf";

pub(super) fn version(machine: &Machine) -> Finding {
    judge_version(magic(&machine.at(MOUNT)))
}

/// The magic number of the file system that holds a path. The type of the field differs between architectures.
#[expect(clippy::cast_sign_loss, reason = "a magic number, not a quantity")]
#[allow(clippy::unnecessary_cast, reason = "see above")]
pub(super) fn magic(path: &Path) -> Option<u64> {
    statfs(path).ok().map(|s| s.f_type as u64)
}

pub(super) fn judge_version(magic: Option<u64>) -> Finding {
    let id = CheckId::CgroupV2;
    if magic == Some(CGROUP2_MAGIC) {
        return Finding::ok(id, format!("{MOUNT} is cgroup v2"));
    }
    let found = match magic {
        Some(_) => format!("{MOUNT} is not cgroup v2, but version 1 or a mixture of both"),
        None => format!("{MOUNT} is not mounted"),
    };
    Finding::new(id, Level::Fatal, found)
        .expected("the unified hierarchy, version 2")
        .fix("boot with the kernel parameter `systemd.unified_cgroup_hierarchy=1`, for example in GRUB_CMDLINE_LINUX of /etc/default/grub")
}

/// The cgroup of this process, if it is the user's to divide: then pods can have limits, and everything a service has
/// started can be found. Otherwise the reason why not.
pub fn delegated(machine: &Machine) -> Result<PathBuf, String> {
    let groups = machine.read("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.ok_or("this process is in no cgroup of version 2")?;
    let dir = machine.at(MOUNT).join(own);
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        let path = dir.join(file);
        if let Err(error) = access(&path, Access::WRITE_OK) {
            let error = std::io::Error::from(error);
            return Err(format!("{} cannot be written: {error}", path.display()));
        }
    }
    let given = machine.read(Path::new(MOUNT).join(own).join("cgroup.controllers"));
    match lacking(&given.unwrap_or_default()).as_slice() {
        [] => Ok(dir),
        lacking => Err(format!("{} lacks {}", dir.display(), lacking.join(", "))),
    }
}

/// The needed controllers that a list of controllers does not have.
fn lacking(given: &str) -> Vec<&'static str> {
    // Whole words: `cpuset` is not `cpu`.
    let given: Vec<_> = given.split_whitespace().collect();
    NEEDED.into_iter().filter(|c| !given.contains(c)).collect()
}

/// The cgroup that `usernetes run` was started in.
pub(super) fn own(machine: &Machine, config: &Config) -> Finding {
    let id = CheckId::CgroupDelegation;
    let reason = match delegated(machine) {
        Ok(dir) => return Finding::ok(id, format!("{} is yours to divide", dir.display())),
        Err(reason) => reason,
    };
    let wanted = "a cgroup of version 2 that is yours, with the controllers cpu, memory and pids";
    if config.cri == Cri::Crio {
        return Finding::new(
            id,
            Level::Fatal,
            format!("{reason}, and CRI-O cannot do without"),
        )
        .expected(wanted)
        .fix("choose containerd with `--cri containerd`, or start this in a cgroup of yours");
    }
    Finding::new(id, Level::Note, format!("{reason}: pods will run without limits"))
        .expected(wanted)
        .fix("start this in a cgroup of yours, for example with `systemd-run --user --scope --property=Delegate=yes`")
}

/// `control_group` is the group of the user's manager as systemd reports it; without it, systemd's usual one is examined.
pub(super) fn controllers(machine: &Machine, control_group: Option<&str>) -> Finding {
    let id = CheckId::CgroupControllers;
    let usual = format!(
        "/user.slice/user-{uid}.slice/user@{uid}.service",
        uid = machine.uid
    );
    let file = format!(
        "{MOUNT}{}/cgroup.controllers",
        control_group.unwrap_or(&usual)
    );
    let Some(text) = machine.read(&file) else {
        return Finding::new(id, Level::Fatal, format!("{file} cannot be read"))
            .expected("cgroup v2 and a systemd that runs for the user");
    };
    let missing = lacking(&text);
    if missing.is_empty() {
        return Finding::ok(id, text.trim());
    }
    let finding = Finding::new(
        id,
        Level::Fatal,
        format!(
            "these controllers are not delegated to your systemd: {}",
            missing.join(", ")
        ),
    )
    .expected(format!("{} in {file}", NEEDED.join(" ")));
    if machine.at(DROP_IN).exists() {
        return finding.fix(format!(
            "{DROP_IN} exists: log out of all sessions and in again, or reboot"
        ));
    }
    finding
        .fix("ask an administrator to run the commands below, then log out of all sessions and in again")
        .admin(
            [
                format!("mkdir -p {}", parent(DROP_IN)),
                format!("printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >{DROP_IN}"),
                "systemctl daemon-reload".to_owned(),
            ],
            [
                format!("rm -f {DROP_IN}"),
                "systemctl daemon-reload".to_owned(),
            ],
        )
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(parent, _)| parent)
}
