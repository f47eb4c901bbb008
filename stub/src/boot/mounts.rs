//! Prepares directories and kernel parameters inside the namespaces. It runs as their root, before any other program.

use std::io::ErrorKind;
use std::path::Path;

use fs_err as fs;
use rustix::mount::mount_bind;

use crate::components::{kubelet, local_path};
use crate::config::{Config, Cri};
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;
use crate::process::say;

/// Links that are removed. RootlessKit's copy-up fills `/etc`, `/run`, `/var/lib` and `/opt` with links to the host's files.
/// These ones lead to the state of the host's container programs, which we must not use and cannot write.
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

/// Directories that programs always write to. For each, the directory in the data directory that is mounted there, so that
/// its contents survive a reboot.
const OURS: [(&str, &str); 6] = [
    (kubelet::ROOT, "kubelet"),
    (local_path::VOLUMES, local_path::VOLUMES_SOURCE),
    ("/var/lib/cni", "_var_lib_cni"),
    ("/var/lib/containers", "_var_lib_containers"),
    ("/var/log", "_var_log"),
    ("/var/cache", "_var_cache"),
];

/// The directory that earlier releases mounted at the kubelet's root directory, while the kubelet itself used another one.
const EARLIER_KUBELET: &str = "_var_lib_kubelet";

/// The kernel parameter that lets the network namespace forward packets of pods.
const FORWARDING: &str = "net/ipv4/ip_forward";
/// The kernel parameter that applies the rules for services to packets on the pods' bridge.
const BRIDGE: &str = "net/bridge/bridge-nf-call-iptables";

/// Hides the state of the host's container programs, mounts our directories, and sets kernel parameters.
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
        // A cluster that runs no pods does not need it.
        Err(error) if !config.runs_pods() => {
            say(error.message());
            Ok(())
        }
        result => result,
    }
}

/// Removes a path if it is a link. Anything else stays.
fn unlink(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Moves the contents of a directory into another one, except entries whose names exist there. Removes the directory if it is
/// empty then.
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
    // This fails if the directory is not empty.
    let _ = fs::remove_dir(from);
    Ok(())
}

/// Mounts the directory `source` at `target`. Creates both.
fn bind(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(source)?;
    if target.starts_with("/var/lib") {
        unlink(target)?;
    }
    fs::create_dir_all(target)?;
    mount_bind(source, target)
        .map_err(std::io::Error::from)
        .about(|| {
            format!(
                "cannot mount `{}` on `{}`",
                source.display(),
                target.display()
            )
        })
}

/// Sets a kernel parameter, unless it already has the value.
fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key);
    match fs::read_to_string(&path) {
        Ok(now) if now.trim() == value => Ok(()),
        Ok(_) => Ok(fs::write(&path, value)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(
            Kind::Host,
            format!("the kernel has no parameter `{}`", key.replace('/', ".")),
        )
        .hint("ask an administrator to load the kernel module `br_netfilter`")),
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
    fn the_kubelet_directory_of_an_earlier_release_is_moved() {
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

        hint: ask an administrator to load the kernel module `br_netfilter`
        ");
    }
}
