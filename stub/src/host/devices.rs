//! Devices and limits of the kernel.

use std::os::unix::fs::FileTypeExt;

use rustix::fs::{Access, access};

use super::{CheckId, Finding, Level, Machine};
use crate::config::{Config, NetworkDriver};

const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";
/// The kernel's default of 128 is enough for a cluster with few pods, unless other programs use most of them.
const ENOUGH_INSTANCES: u64 = 64;
/// A few for each volume and each log that is followed.
const ENOUGH_WATCHES: u64 = 8192;
const SYSCTL: &str = "/etc/sysctl.d/99-usernetes-inotify.conf";

pub(super) fn tun(machine: &Machine, driver: NetworkDriver) -> Finding {
    let id = CheckId::Tun;
    device(machine, "/dev/net/tun", id).unwrap_or_else(|found| {
        Finding::new(id, Level::Fatal, found)
            .expected(format!(
                "a device that you may open: {driver} needs it to connect the cluster"
            ))
            .fix("ask an administrator to run the commands below")
            .admin(
                [
                    "modprobe tun",
                    "echo tun >/etc/modules-load.d/usernetes-tun.conf",
                    "chmod 0666 /dev/net/tun",
                ],
                ["rm -f /etc/modules-load.d/usernetes-tun.conf"],
            )
    })
}

/// The network driver, if it is another one than the bundle's. `bundled` says whether the bundle brings it nevertheless.
#[must_use]
pub fn network_driver(machine: &Machine, config: &Config, bundled: bool) -> Option<Finding> {
    let id = CheckId::NetworkDriver;
    match config.network.driver {
        NetworkDriver::Slirp4netns => None,
        NetworkDriver::Pasta if bundled => Some(Finding::ok(id, "pasta, of the bundle")),
        NetworkDriver::Pasta => Some(match machine.find("pasta") {
            Some(path) => Finding::ok(id, machine.shown(&path)),
            None => Finding::new(id, Level::Fatal, "there is no `pasta` in PATH")
                .expected("the package `passt`")
                .fix("install that package, or choose `--network-driver slirp4netns`")
                .admin(
                    ["if command -v apt-get >/dev/null; then apt-get install -y passt; elif command -v dnf >/dev/null; then dnf install -y passt; fi"],
                    ["# the package passt may stay: other programs use it too"],
                ),
        }),
    }
}

pub(super) fn fuse(machine: &Machine) -> Finding {
    let id = CheckId::Fuse;
    device(machine, "/dev/fuse", id).unwrap_or_else(|found| {
        Finding::new(id, Level::Note, found)
            .expected("only needed if the kernel's own overlay file system cannot be mounted in a user namespace")
    })
}

fn device(machine: &Machine, path: &str, id: CheckId) -> Result<Finding, String> {
    let file = machine.at(path);
    match fs_err::metadata(&file) {
        Err(_) => Err(format!("{path} is missing")),
        Ok(metadata) if !metadata.file_type().is_char_device() => {
            Err(format!("{path} is not a device"))
        }
        Ok(_) if access(&file, Access::READ_OK | Access::WRITE_OK).is_err() => {
            Err(format!("you may not open {path}"))
        }
        Ok(_) => Ok(Finding::ok(id, path)),
    }
}

/// The kernel does not report how many instances of a user are left, so those among the processes' files are counted.
pub(super) fn inotify(machine: &Machine) -> Finding {
    let id = CheckId::Inotify;
    let (Some(instances), Some(watches)) = (machine.number(INSTANCES), machine.number(WATCHES))
    else {
        return Finding::new(id, Level::Note, format!("{INSTANCES} cannot be read"));
    };
    let used = machine
        .own_files(|target| target == "anon_inode:inotify")
        .count() as u64;
    let found = format!("{instances} instances, {used} of them in use, and {watches} watches");
    if instances.saturating_sub(used) >= ENOUGH_INSTANCES && watches >= ENOUGH_WATCHES {
        return Finding::ok(id, found);
    }
    Finding::new(id, Level::Warn, found)
        .expected(format!(
            "{ENOUGH_INSTANCES} free instances and {ENOUGH_WATCHES} watches, or programs fail with \"too many open files\""
        ))
        .fix("ask an administrator to run the commands below")
        .admin(
            [
                format!(
                    "printf 'fs.inotify.max_user_instances=8192\\nfs.inotify.max_user_watches=524288\\n' >{SYSCTL}"
                ),
                format!("sysctl -q -p {SYSCTL}"),
            ],
            [
                format!("rm -f {SYSCTL}"),
                "# the old limits return at the next boot".to_owned(),
            ],
        )
}
