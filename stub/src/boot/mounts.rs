//! Making the inside of the namespaces fit for containers, as their root and before anything runs in them.

use std::io::ErrorKind;
use std::path::Path;

use fs_err as fs;
use rustix::mount::mount_bind;

use crate::components::kubelet;
use crate::config::{Config, Cri};
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;
use crate::process::say;

/// RootlessKit's copy-up fills `/etc`, `/run`, `/var/lib` and `/opt` with links to the host's files. Behind these links
/// are the host's own container programs, whose state is neither ours nor writable.
const HOST_STATE: [&str; 13] = [
    "/etc/cni",
    "/etc/containerd",
    "/etc/containers",
    "/etc/crio",
    "/etc/kubernetes",
    "/run/containerd",
    "/run/containers",
    "/run/crio",
    "/run/crun",
    "/run/flannel",
    "/run/netns",
    "/run/runc",
    "/run/xtables.lock",
];

/// Where programs insist on writing, each with the directory of the user's data that backs it and survives a reboot.
const OURS: [(&str, &str); 5] = [
    (kubelet::ROOT, "kubelet"),
    ("/var/lib/cni", "_var_lib_cni"),
    ("/var/lib/containers", "_var_lib_containers"),
    ("/var/log", "_var_log"),
    ("/var/cache", "_var_cache"),
];

/// What earlier releases showed at the kubelet's root directory, while the kubelet itself used another one.
const EARLIER_KUBELET: &str = "_var_lib_kubelet";

/// Parameters of the network namespace: pods are routed, and what crosses their bridge passes the service rules.
const FORWARDING: &str = "net/ipv4/ip_forward";
const BRIDGE: &str = "net/bridge/bridge-nf-call-iptables";

/// Hides the host's container state and puts ours in its place.
pub(super) fn prepare(layout: &Layout, config: &Config) -> Result<()> {
    HOST_STATE.into_iter().map(Path::new).try_for_each(unlink)?;
    adopt(&layout.data(EARLIER_KUBELET), &layout.data("kubelet"))?;
    for (target, source) in OURS {
        bind(&layout.data(source), Path::new(target))?;
    }
    sysctl(FORWARDING, "1")?;
    if config.cri == Cri::None {
        return Ok(());
    }
    match sysctl(BRIDGE, "1") {
        // There may never be a pod.
        Err(error) if !config.runs_pods() => {
            say(error.message());
            Ok(())
        }
        result => result,
    }
}

/// Removes a link. What is no link stays.
fn unlink(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Moves what a directory holds into another one, except where that has something of the same name, and removes the
/// directory if nothing is left in it.
fn adopt(from: &Path, to: &Path) -> Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if fs::symlink_metadata(&target).is_err() {
            fs::rename(entry.path(), target)?;
        }
    }
    // It stays if anything does.
    let _ = fs::remove_dir(from);
    Ok(())
}

/// Shows the directory `source` at `target`, making both.
fn bind(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(source)?;
    if target.starts_with("/var/lib") {
        unlink(target)?;
    }
    fs::create_dir_all(target)?;
    mount_bind(source, target)
        .map_err(std::io::Error::from)
        .about(|| format!("mounting `{}` on `{}`", source.display(), target.display()))
}

/// Sets a kernel parameter unless it has the value.
fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key);
    match fs::read_to_string(&path) {
        Ok(now) if now.trim() == value => Ok(()),
        Ok(_) => Ok(fs::write(&path, value)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(
            Kind::Host,
            format!("the kernel has no parameter `{}`", key.replace('/', ".")),
        )
        .hint("ask the administrator to load the module `br_netfilter`")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, missing) = (
            dir.path().join("file"),
            dir.path().join("link"),
            dir.path().join("missing"),
        );
        fs::write(&file, "").unwrap();
        fs_err::os::unix::fs::symlink("/nowhere", &link).unwrap();
        for path in [&file, &link, &missing] {
            unlink(path).unwrap();
        }
        assert!(file.exists());
        assert!(fs::symlink_metadata(&link).is_err());
    }

    #[test]
    fn what_an_earlier_release_showed_to_pods_moves_along() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (
            dir.path().join("_var_lib_kubelet"),
            dir.path().join("kubelet"),
        );
        adopt(&old, &new).unwrap();
        assert!(!new.exists());
        for (dir, names) in [(&old, ["plugins", "pods"]), (&new, ["pods", "pki"])] {
            for name in names {
                fs::create_dir_all(dir.join(name)).unwrap();
                fs::write(dir.join(name).join("file"), dir.to_str().unwrap()).unwrap();
            }
        }
        let content = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        for _ in 0..2 {
            adopt(&old, &new).unwrap();
            assert_eq!(content("kubelet/plugins/file"), old.to_str().unwrap());
            assert_eq!(content("kubelet/pods/file"), new.to_str().unwrap());
            // Nothing is lost, and nothing is replaced.
            assert_eq!(content("_var_lib_kubelet/pods/file"), old.to_str().unwrap());
        }
        fs::remove_dir_all(old.join("pods")).unwrap();
        adopt(&old, &new).unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn a_missing_parameter_names_the_module() {
        let error = sysctl("net/bridge/no-such-parameter", "1").unwrap_err();
        insta::assert_snapshot!(error, @r"
        the kernel has no parameter `net.bridge.no-such-parameter`

        hint: ask the administrator to load the module `br_netfilter`
        ");
    }
}
