//! containerd and its FUSE snapshotter.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::network::bridge;
use crate::protocol;
use crate::render::{Args, ConfigFile, toml};

/// The program that stacks the layers of an image into one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Snapshotter {
    /// The kernel's overlayfs, on machines where it can be mounted in a user namespace.
    Overlayfs,
    /// fuse-overlayfs, a FUSE program.
    FuseOverlayfs,
}

impl Snapshotter {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlayfs => "overlayfs",
            Self::FuseOverlayfs => "fuse-overlayfs",
        }
    }
}

/// containerd's socket.
#[must_use]
pub fn socket(layout: &Layout) -> PathBuf {
    layout.runtime("containerd/containerd.sock")
}

/// The FUSE snapshotter's socket.
#[must_use]
pub fn fuse_socket(layout: &Layout) -> PathBuf {
    layout.runtime("containerd/fuse-overlayfs.sock")
}

/// The path of the OCI runtime where no cgroup can be made. It is this program under another name: containerd gives every
/// container the path of a cgroup, even if the container is to have none, and crun fails if it cannot make that cgroup.
#[must_use]
pub fn oci_runtime(layout: &Layout) -> PathBuf {
    layout.runtime(protocol::OCI_RUNTIME_WITHOUT_CGROUPS)
}

fn config_file(layout: &Layout) -> PathBuf {
    layout.runtime("containerd.toml")
}

fn fuse_root(layout: &Layout) -> PathBuf {
    layout.data("containerd-fuse-overlayfs")
}

/// The command line of containerd.
#[must_use]
pub fn args(layout: &Layout) -> Vec<String> {
    Args::of(layout, "containerd")
        .path("config", config_file(layout))
        .0
}

/// The command line of the FUSE snapshotter. It must answer before containerd is started.
#[must_use]
pub fn fuse_args(layout: &Layout) -> Vec<String> {
    let mut args = Args::of(layout, "containerd-fuse-overlayfs-grpc").0;
    args.push(fuse_socket(layout).display().to_string());
    args.push(fuse_root(layout).display().to_string());
    args
}

#[derive(Serialize)]
struct Configuration {
    version: u32,
    root: PathBuf,
    state: PathBuf,
    grpc: Grpc,
    plugins: Plugins,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    proxy_plugins: BTreeMap<&'static str, ProxyPlugin>,
}

#[derive(Serialize)]
struct Grpc {
    address: PathBuf,
}

#[derive(Serialize)]
struct ProxyPlugin {
    r#type: &'static str,
    address: PathBuf,
    exports: BTreeMap<&'static str, PathBuf>,
}

#[derive(Serialize)]
struct Plugins {
    #[serde(rename = "io.containerd.cri.v1.images")]
    images: Images,
    #[serde(rename = "io.containerd.cri.v1.runtime")]
    runtime: Runtime,
}

#[derive(Serialize)]
struct Images {
    snapshotter: Snapshotter,
    pinned_images: PinnedImages,
}

#[derive(Serialize)]
struct PinnedImages {
    sandbox: String,
}

#[derive(Serialize)]
struct Runtime {
    disable_apparmor: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_cgroup: Option<bool>,
    disable_hugetlb_controller: bool,
    restrict_oom_score_adj: bool,
    cni: CniDirs,
    containerd: Containers,
}

#[derive(Serialize)]
struct CniDirs {
    bin_dirs: [PathBuf; 2],
    conf_dir: &'static str,
}

#[derive(Serialize)]
struct Containers {
    default_runtime_name: &'static str,
    runtimes: BTreeMap<&'static str, OciRuntime>,
}

#[derive(Serialize)]
struct OciRuntime {
    runtime_type: &'static str,
    options: OciOptions,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OciOptions {
    binary_name: PathBuf,
    systemd_cgroup: bool,
}

/// containerd's configuration file, in the format of containerd 2.0 and later. `pause_image` is the name of the image for
/// pod sandboxes. It must be imported before the first pod starts, and is never removed by garbage collection. `cgroups` says
/// whether containers can have cgroups.
#[must_use]
pub fn files(
    layout: &Layout,
    snapshotter: Snapshotter,
    pause_image: &str,
    cgroups: bool,
) -> Vec<ConfigFile> {
    // By name, not by path: a container remembers it, and may outlive the generation that started it.
    let runtime = |binary_name: PathBuf| OciRuntime {
        runtime_type: "io.containerd.runc.v2",
        options: OciOptions {
            binary_name,
            systemd_cgroup: false,
        },
    };
    let crun = if cgroups {
        "crun".into()
    } else {
        oci_runtime(layout)
    };
    let proxy_plugins = match snapshotter {
        Snapshotter::Overlayfs => BTreeMap::new(),
        Snapshotter::FuseOverlayfs => [(
            "fuse-overlayfs",
            ProxyPlugin {
                r#type: "snapshot",
                address: fuse_socket(layout),
                // Tells the kubelet which file system the images use.
                exports: [("root", fuse_root(layout))].into(),
            },
        )]
        .into(),
    };
    let configuration = Configuration {
        version: 3,
        root: layout.data("containerd"),
        state: layout.runtime("containerd"),
        grpc: Grpc {
            address: socket(layout),
        },
        plugins: Plugins {
            images: Images {
                snapshotter,
                pinned_images: PinnedImages {
                    sandbox: pause_image.to_owned(),
                },
            },
            runtime: Runtime {
                // An unprivileged user can change none of these.
                disable_apparmor: true,
                disable_cgroup: (!cgroups).then_some(true),
                disable_hugetlb_controller: true,
                restrict_oom_score_adj: true,
                cni: CniDirs {
                    bin_dirs: [layout.cni_plugins(), bridge::EXTRA_PLUGINS.into()],
                    conf_dir: bridge::CONFIG_DIR,
                },
                containerd: Containers {
                    default_runtime_name: "crun",
                    runtimes: [("crun", runtime(crun)), ("runc", runtime("runc".into()))].into(),
                },
            },
        },
        proxy_plugins,
    };
    vec![(config_file(layout), toml(&configuration))]
}
