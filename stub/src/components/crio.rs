//! CRI-O.
//!
//! CRI-O creates further sockets and files with names of its own. They go to `/run/crio`, which is private to the
//! namespaces and short enough for the path of a socket, which may have 107 bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::containerd::Snapshotter;
use crate::layout::Layout;
use crate::network::bridge;
use crate::protocol;
use crate::render::{Args, ConfigFile, json, toml};

/// CRI-O's socket.
#[must_use]
pub fn socket(layout: &Layout) -> PathBuf {
    layout.runtime("crio/crio.sock")
}

/// The images of the bundle and of the user, and the local registry that CRI-O pulls them from.
#[derive(Debug, Clone, Default)]
pub struct Images<'a> {
    /// The image for pod sandboxes.
    pub pause: &'a str,
    /// The images that must not be removed when disk space runs out.
    pub pinned: &'a [String],
    /// The registry's port on the loopback address.
    pub port: u16,
    /// The repositories that the registry mirrors, for example `registry.k8s.io/pause`.
    pub repositories: BTreeSet<String>,
}

fn registries_dir(layout: &Layout) -> PathBuf {
    layout.runtime("crio/registries.conf.d")
}

/// The program that CRI-O runs instead of crun. It is a link to `usernetes`, which recognizes the name it is called by.
#[must_use]
pub fn oci_runtime(layout: &Layout) -> PathBuf {
    layout.runtime("crio").join(protocol::OCI_RUNTIME)
}

fn drop_in_dir(layout: &Layout) -> PathBuf {
    layout.runtime("crio/crio.conf.d")
}

fn registries_file(layout: &Layout) -> PathBuf {
    layout.runtime("crio/registries.conf")
}

fn policy_file(layout: &Layout) -> PathBuf {
    layout.runtime("crio/policy.json")
}

fn storage_file(layout: &Layout) -> PathBuf {
    layout.runtime("crio/storage.conf")
}

/// CRI-O's command line. With it, CRI-O reads no configuration from the host's `/etc`.
#[must_use]
pub fn args(layout: &Layout) -> Vec<String> {
    Args::of(layout, "crio")
        .flag("config", "")
        .path("config-dir", drop_in_dir(layout))
        .path("registries-conf", registries_file(layout))
        .path("registries-conf-dir", registries_dir(layout))
        .0
}

/// The environment variables that CRI-O needs besides `PATH`.
#[must_use]
pub fn env(layout: &Layout) -> Vec<(&'static str, String)> {
    vec![(
        "CONTAINERS_STORAGE_CONF",
        storage_file(layout).display().to_string(),
    )]
}

#[derive(Serialize)]
struct Configuration {
    crio: Crio,
}

#[derive(Serialize)]
struct Crio {
    root: PathBuf,
    runroot: PathBuf,
    storage_driver: &'static str,
    log_dir: &'static str,
    version_file: &'static str,
    version_file_persist: PathBuf,
    clean_shutdown_file: PathBuf,
    internal_wipe: bool,
    api: Api,
    image: Image,
    network: Network,
    runtime: Runtime,
}

#[derive(Serialize)]
struct Api {
    listen: PathBuf,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are CRI-O's")]
struct Image {
    signature_policy: PathBuf,
    pause_image: String,
    pause_command: &'static str,
    pinned_images: Vec<String>,
}

#[derive(Serialize)]
struct Network {
    network_dir: &'static str,
    plugin_dirs: [PathBuf; 2],
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are CRI-O's")]
struct Runtime {
    cgroup_manager: &'static str,
    pinns_path: PathBuf,
    hooks_dir: [PathBuf; 0],
    container_exits_dir: &'static str,
    container_attach_socket_dir: &'static str,
    namespaces_dir: &'static str,
    default_runtime: &'static str,
    runtimes: BTreeMap<&'static str, OciRuntime>,
}

#[derive(Serialize)]
struct OciRuntime {
    runtime_path: PathBuf,
    runtime_type: &'static str,
    runtime_root: &'static str,
    monitor_path: PathBuf,
    monitor_cgroup: &'static str,
}

#[derive(Serialize)]
struct StorageConfiguration {
    storage: Storage,
}

#[derive(Serialize)]
struct Storage {
    driver: &'static str,
    runroot: PathBuf,
    graphroot: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<StorageOptions>,
}

#[derive(Serialize)]
struct StorageOptions {
    overlay: Overlay,
}

#[derive(Serialize)]
struct Overlay {
    mount_program: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Registries {
    unqualified_search_registries: [&'static str; 1],
}

#[derive(Serialize)]
struct Mirrored {
    registry: Vec<Registry>,
}

#[derive(Serialize)]
struct Registry {
    location: String,
    mirror: [Mirror; 1],
}

#[derive(Serialize)]
struct Mirror {
    location: String,
    insecure: bool,
}

#[derive(Serialize)]
struct Policy {
    default: [PolicyRule; 1],
}

#[derive(Serialize)]
struct PolicyRule {
    r#type: &'static str,
}

fn mirrored(repositories: &BTreeSet<String>, port: u16) -> Mirrored {
    let registry = |repository: &String| Registry {
        location: repository.clone(),
        mirror: [Mirror {
            location: format!("{}:{port}/{repository}", Ipv4Addr::LOCALHOST),
            insecure: true,
        }],
    };
    Mirrored {
        registry: repositories.iter().map(registry).collect(),
    }
}

/// A further file by which CRI-O, once it has read its configuration again, pulls images of these repositories from another
/// registry on the loopback address. It sorts behind the one of the start, so it takes precedence
/// (containers-registries.conf.d(5)).
#[must_use]
pub fn mirrors(layout: &Layout, repositories: &BTreeSet<String>, port: u16) -> ConfigFile {
    (
        registries_dir(layout).join("20-u7s-loading.conf"),
        toml(&mirrored(repositories, port)),
    )
}

/// CRI-O's configuration files.
#[must_use]
pub fn files(layout: &Layout, snapshotter: Snapshotter, images: &Images<'_>) -> Vec<ConfigFile> {
    let (graphroot, runroot) = (layout.data("containers"), layout.runtime("containers"));
    let crun = OciRuntime {
        runtime_path: oci_runtime(layout),
        runtime_type: "oci",
        runtime_root: "/run/crun",
        monitor_path: layout.program("conmon"),
        monitor_cgroup: "pod",
    };
    let mut pinned_images = vec![images.pause.to_owned()];
    pinned_images.extend(images.pinned.iter().filter(|i| *i != images.pause).cloned());
    let configuration = Configuration {
        crio: Crio {
            root: graphroot.clone(),
            runroot: runroot.clone(),
            storage_driver: "overlay",
            log_dir: "/var/log/crio/pods",
            version_file: "/run/crio/version",
            version_file_persist: layout.data("crio/version"),
            clean_shutdown_file: layout.data("crio/clean.shutdown"),
            internal_wipe: true,
            api: Api {
                listen: socket(layout),
            },
            image: Image {
                signature_policy: policy_file(layout),
                pause_image: images.pause.to_owned(),
                pause_command: "/pause",
                pinned_images,
            },
            network: Network {
                network_dir: bridge::CONFIG_DIR,
                plugin_dirs: [layout.cni_plugins(), bridge::EXTRA_PLUGINS.into()],
            },
            runtime: Runtime {
                cgroup_manager: "cgroupfs",
                pinns_path: layout.program("pinns"),
                hooks_dir: [],
                container_exits_dir: "/run/crio/exits",
                container_attach_socket_dir: "/run/crio",
                namespaces_dir: "/run/crio/ns",
                default_runtime: "crun",
                runtimes: [("crun", crun)].into(),
            },
        },
    };
    let storage = StorageConfiguration {
        storage: Storage {
            driver: "overlay",
            runroot,
            graphroot,
            options: match snapshotter {
                Snapshotter::Overlayfs => None,
                Snapshotter::FuseOverlayfs => Some(StorageOptions {
                    overlay: Overlay {
                        mount_program: layout.program("fuse-overlayfs"),
                    },
                }),
            },
        },
    };
    let registries = Registries {
        unqualified_search_registries: ["docker.io"],
    };
    let mirrored = mirrored(&images.repositories, images.port);
    // An image from a registry is verified only if its name contains a digest, as with containerd.
    let policy = Policy {
        default: [PolicyRule {
            r#type: "insecureAcceptAnything",
        }],
    };
    vec![
        (
            drop_in_dir(layout).join("10-u7s.conf"),
            toml(&configuration),
        ),
        (storage_file(layout), toml(&storage)),
        (registries_file(layout), toml(&registries)),
        (
            registries_dir(layout).join("10-u7s-images.conf"),
            toml(&mirrored),
        ),
        (policy_file(layout), json(&policy)),
    ]
}
