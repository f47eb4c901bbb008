//! Finds out by trying what this machine's kernel allows inside the namespaces.

use std::io::{self};
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use rustix::fs::unlink;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use crate::child;
use crate::components::containerd::Snapshotter;
use crate::components::kube_proxy::Mode;
use crate::error::{Context, Error, Kind, Result};
use crate::files::{replace, write_atomically};
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
/// The name of the file with the choice of the snapshotter, in the data directory.
const CHOICE: &str = "snapshotter";

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
        let snapshotter = snapshotter(
            &layout.data(CHOICE),
            overlay(&layout.data("containerd")),
            &mut notes,
        )?;
        let mut works = |what: &str, result: Result<()>| match result {
            Ok(()) => true,
            Err(error) => {
                notes.push(format!("{what}: {error}"));
                false
            }
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

/// What an attempt with overlayfs has shown.
#[derive(Debug, PartialEq, Eq)]
enum Overlay {
    Works,
    /// It does not, for this reason.
    CannotWork(String),
}

/// Chooses the snapshotter. The first choice is kept in the file `kept`, because each snapshotter sees only the images and
/// containers that it has unpacked itself. Another one is chosen later only if this machine can no longer do it.
fn snapshotter(
    kept: &Path,
    tried: Result<Overlay>,
    notes: &mut Vec<String>,
) -> Result<Snapshotter> {
    let tried = tried.about(|| "cannot find out whether overlayfs works here")?;
    let before = match fs::read_to_string(kept) {
        Ok(text) => [Snapshotter::Overlayfs, Snapshotter::FuseOverlayfs]
            .into_iter()
            .find(|choice| choice.as_str() == text.trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let choice = match (before, tried) {
        (Some(Snapshotter::FuseOverlayfs), Overlay::Works) => {
            notes.push(
                "overlayfs works now, but this cluster's images were unpacked with fuse-overlayfs"
                    .to_owned(),
            );
            Snapshotter::FuseOverlayfs
        }
        (_, Overlay::Works) => Snapshotter::Overlayfs,
        (_, Overlay::CannotWork(reason)) => {
            notes.push(format!("overlayfs: {reason}"));
            Snapshotter::FuseOverlayfs
        }
    };
    if before != Some(choice) {
        replace(kept, format!("{}\n", choice.as_str()).as_bytes(), 0o600)?;
    }
    Ok(choice)
}

/// Mounts an overlay as containerd does in a user namespace, and deletes a file of its lower layer. An error that says nothing
/// about overlayfs, such as a full disk, is returned.
fn overlay(dir: &Path) -> Result<Overlay> {
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
    let result = match mounted {
        Ok(()) => {
            let deleted = unlink(merged.join("file")).map_err(io::Error::from);
            unmount(&merged, UnmountFlags::empty()).map_err(io::Error::from)?;
            judge("deleting a file", deleted)
        }
        Err(error) => judge("mount", Err(error.into())),
    };
    fs::remove_dir_all(&dir)?;
    result
}

/// Tells the errors with which a kernel refuses overlayfs from all others.
fn judge(step: &str, result: io::Result<()>) -> Result<Overlay> {
    let Err(error) = result else {
        return Ok(Overlay::Works);
    };
    match Errno::from_io_error(&error) {
        // In this order: the kernel or a security module forbids it; it does not know the option `userxattr`, or the file system
        // does not fit; there is no overlayfs; the file system lacks an operation that overlayfs needs.
        Some(
            Errno::PERM
            | Errno::ACCESS
            | Errno::INVAL
            | Errno::NODEV
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::XDEV,
        ) => Ok(Overlay::CannotWork(format!("{step}: {error}"))),
        _ => Err(Error::from(error).about(step)),
    }
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

    fn cannot() -> Overlay {
        Overlay::CannotWork("mount: no".to_owned())
    }

    #[test]
    fn the_first_choice_stays_as_long_as_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join(CHOICE);
        let choose = |tried| {
            let mut notes = Vec::new();
            let choice = snapshotter(&kept, tried, &mut notes).unwrap();
            assert_eq!(fs::read_to_string(&kept).unwrap().trim(), choice.as_str());
            (choice, notes.len())
        };
        assert_eq!(choose(Ok(Overlay::Works)), (Snapshotter::Overlayfs, 0));
        assert_eq!(choose(Ok(cannot())), (Snapshotter::FuseOverlayfs, 1));
        // It has images now.
        assert_eq!(choose(Ok(Overlay::Works)), (Snapshotter::FuseOverlayfs, 1));
        fs::write(&kept, "something else\n").unwrap();
        assert_eq!(choose(Ok(Overlay::Works)), (Snapshotter::Overlayfs, 0));
    }

    #[test]
    fn only_errors_of_overlayfs_itself_select_another_snapshotter() {
        let judge = |errno: Errno| judge("mount", Err(errno.into()));
        for errno in [Errno::PERM, Errno::INVAL, Errno::NODEV, Errno::OPNOTSUPP] {
            assert!(
                matches!(judge(errno), Ok(Overlay::CannotWork(_))),
                "{errno}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        for errno in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::NOMEM,
            Errno::IO,
            Errno::MFILE,
        ] {
            let kept = dir.path().join(CHOICE);
            let error = snapshotter(&kept, judge(errno), &mut Vec::new()).unwrap_err();
            assert!(
                error
                    .message()
                    .starts_with("cannot find out whether overlayfs works here: mount: "),
                "{error}"
            );
            assert!(!kept.exists());
        }
        assert_eq!(super::judge("mount", Ok(())).unwrap(), Overlay::Works);
    }
}
