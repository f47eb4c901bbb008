//! Finds out by trying what this machine's kernel allows inside the namespaces.

use std::io::{self};
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use crate::child;
use crate::components::containerd::Snapshotter;
use crate::components::kube_proxy::Mode;
use crate::error::{Context, Error, Kind, Result};
use crate::files::write_atomically;
use crate::layout::Layout;
use crate::process::supervise;

/// The result, for services that start later and for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The program that stacks the layers of images.
    pub snapshotter: Snapshotter,
    /// The kernel interface that kube-proxy uses.
    pub proxy_mode: Mode,
    /// Whether containers can have cgroups of their own.
    #[serde(default = "yes")]
    pub cgroups: bool,
    /// The reasons why a first choice was not possible, one line each.
    pub notes: Vec<String>,
}

/// The name of the file with the result, in the runtime directory.
const FILE: &str = "probe.json";

/// Rules of the same kinds as kube-proxy's. Their table is deleted in the transaction that adds it.
const NFT_RULES: &str = "\
add table ip usernetes-probe
add chain ip usernetes-probe a { type nat hook prerouting priority dstnat; }
add chain ip usernetes-probe b
add map ip usernetes-probe m { type ipv4_addr . inet_proto . inet_service : verdict; }
add rule ip usernetes-probe a fib daddr type local ip daddr . meta l4proto . th dport vmap @m
add rule ip usernetes-probe b ct state new meta mark set mark or 0x4000 numgen random mod 2 vmap { 0 : drop, 1 : return }
delete table ip usernetes-probe
";

fn yes() -> bool {
    true
}

impl Probe {
    /// Tries everything and writes the result to a file. `cgroups` is known before the namespaces are made. Must run as root
    /// in the namespaces, before other programs use them.
    pub(super) fn run(layout: &Layout, cgroups: bool) -> Result<Self> {
        let mut notes = Vec::new();
        let mut works = |what: &str, result: Result<()>| match result {
            Ok(()) => true,
            Err(error) => {
                notes.push(format!("{what}: {error}"));
                false
            }
        };
        let snapshotter = if works("overlayfs", overlay(&layout.data("containerd"))) {
            Snapshotter::Overlayfs
        } else {
            Snapshotter::FuseOverlayfs
        };
        // A port may be published to the namespace's loopback address. There, kube-proxy answers for a NodePort only in
        // iptables mode (Kubernetes documentation, "Virtual IPs and Service Proxies", nftables: NodePort interfaces).
        let proxy_mode = if works("iptables", iptables()) || !works("nftables", nftables()) {
            Mode::Iptables
        } else {
            Mode::Nftables
        };
        let probe = Self {
            snapshotter,
            proxy_mode,
            cgroups,
            notes,
        };
        write_atomically(
            &layout.runtime(FILE),
            &serde_json::to_vec(&probe).map_err(io::Error::from)?,
        )?;
        Ok(probe)
    }

    /// Reads the result from when RootlessKit was last started.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.runtime(FILE);
        serde_json::from_slice(&fs::read(&path)?)
            .map_err(io::Error::from)
            .about(|| path.display())
            .hint(|| "restart RootlessKit with `usernetes restart rootlesskit`".to_owned())
    }
}

/// Mounts an overlay as containerd does in a user namespace, and deletes a file of its lower layer.
fn overlay(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let dir = dir.join(".probe");
    let _ = fs::remove_dir_all(&dir);
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| dir.join(name));
    for dir in [&lower, &upper, &work, &merged] {
        fs::create_dir_all(dir)?;
    }
    fs::write(lower.join("file"), "")?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr\0",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .map_err(|_| Error::new(Kind::Host, format!("`{}` has a zero byte", dir.display())))?;
    let mounted = mount("overlay", &merged, "overlay", MountFlags::empty(), options);
    let result = mounted
        .map_err(io::Error::from)
        .about(|| "mount")
        .and_then(|()| {
            let deleted = fs::remove_file(merged.join("file"));
            unmount(&merged, UnmountFlags::empty()).map_err(io::Error::from)?;
            Ok(deleted?)
        });
    fs::remove_dir_all(&dir)?;
    result
}

fn iptables() -> Result<()> {
    // The rule needs the same kernel modules as kube-proxy's rules.
    let rule = [
        "OUTPUT",
        "-w",
        "-t",
        "nat",
        "-m",
        "comment",
        "--comment",
        "probe",
        "-m",
        "addrtype",
        "--dst-type",
        "LOCAL",
        "-j",
        "RETURN",
    ];
    for action in ["-A", "-D"] {
        let mut iptables = Command::new("iptables");
        iptables.arg(action).args(rule);
        supervise::output(iptables)?;
    }
    Ok(())
}

fn nftables() -> Result<()> {
    let mut nft = Command::new("nft");
    let ended = child::run_with(nft.args(["-f", "-"]), NFT_RULES)?;
    ended.success().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_of_the_file() {
        let probe = Probe {
            snapshotter: Snapshotter::FuseOverlayfs,
            proxy_mode: Mode::Iptables,
            cgroups: true,
            notes: vec!["overlayfs: mount: Operation not permitted (os error 1)".to_owned()],
        };
        let json = serde_json::to_string(&probe).unwrap();
        insta::assert_snapshot!(json, @r#"{"snapshotter":"fuse-overlayfs","proxy_mode":"iptables","cgroups":true,"notes":["overlayfs: mount: Operation not permitted (os error 1)"]}"#);
        assert_eq!(serde_json::from_str::<Probe>(&json).unwrap(), probe);
    }
}
