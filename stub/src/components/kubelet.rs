//! The kubelet.
//!
//! It keeps pods within bounds: what they may use together, what one of them may use, and when the disk counts as full.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::Serialize;

use super::cri_socket;
use crate::config::Config;
use crate::layout::{Credential, Kubeconfig, Layout};
use crate::render::{Args, ConfigFile, json};
use bounds::{Bounds, Reserved};

mod bounds;

pub use bounds::{Capacity, full_below};

/// The kubelet's root directory, inside the namespaces. `boot` mounts the directory `kubelet` of the data directory there.
/// The kubelet and its plugins create sockets below it, and the path of a socket may have only 107 bytes, however long the
/// path of the user's home is.
pub const ROOT: &str = "/var/lib/kubelet";

/// The directory of `FlexVolume` plugins.
pub(super) fn volume_plugins(layout: &Layout) -> PathBuf {
    layout.data("kubelet-plugins-exec")
}

fn config_file(layout: &Layout) -> PathBuf {
    layout.runtime("kubelet.json")
}

/// The kubelet's command line. It exits at once if the container runtime does not answer.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    Args::of(layout, "kubelet")
        .path("config", config_file(layout))
        .path("kubeconfig", layout.kubeconfig(Kubeconfig::Kubelet))
        .flag("root-dir", ROOT)
        .flag("cert-dir", format!("{ROOT}/pki"))
        .flag("hostname-override", &config.node_name)
        // Without it, the kubelet looks up the node's name, which RootlessKit's /etc/hosts maps to 127.0.0.1.
        .flag("node-ip", config.address())
        .0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the keys are the kubelet's")]
struct KubeletConfiguration {
    api_version: &'static str,
    kind: &'static str,
    authentication: Authentication,
    authorization: Authorization,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    tls_cert_file: PathBuf,
    tls_private_key_file: PathBuf,
    tls_min_version: &'static str,
    cluster_domain: String,
    #[serde(rename = "clusterDNS")]
    cluster_dns: [Ipv4Addr; 1],
    container_runtime_endpoint: String,
    volume_plugin_dir: PathBuf,
    feature_gates: BTreeMap<&'static str, bool>,
    fail_swap_on: bool,
    cgroup_driver: &'static str,
    #[serde(rename = "cgroupsPerQOS")]
    cgroups_per_qos: bool,
    enforce_node_allocatable: &'static [&'static str],
    system_reserved: Reserved,
    eviction_hard: BTreeMap<&'static str, String>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: u8,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low_threshold_percent: u8,
    local_storage_capacity_isolation: bool,
    pod_pids_limit: u32,
    seccomp_default: bool,
    max_open_files: u32,
    oom_score_adj: i16,
}

#[derive(Serialize)]
struct Authentication {
    anonymous: Enabled,
    webhook: Enabled,
    x509: X509,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct X509 {
    #[serde(rename = "clientCAFile")]
    client_ca_file: PathBuf,
}

#[derive(Serialize)]
struct Authorization {
    mode: &'static str,
}

/// The kubelet's configuration file. Without `cgroups`, pods run without limits: where no cgroup can be divided, the kubelet
/// would otherwise exit.
#[must_use]
pub fn files(
    layout: &Layout,
    config: &Config,
    capacity: &Capacity,
    cgroups: bool,
) -> Vec<ConfigFile> {
    let bounds = Bounds::of(capacity, &config.resources);
    let socket = cri_socket(layout, config.cri);
    let configuration = KubeletConfiguration {
        api_version: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        authentication: Authentication {
            anonymous: Enabled { enabled: false },
            webhook: Enabled { enabled: true },
            x509: X509 {
                client_ca_file: layout.certificate(Credential::NodeAuthority),
            },
        },
        authorization: Authorization { mode: "Webhook" },
        // A single machine keeps the kubelet's default.
        port: config
            .machines
            .address
            .map(|_| config.machines.kubelet_port),
        tls_cert_file: layout.certificate(Credential::Kubelet),
        tls_private_key_file: layout.key(Credential::Kubelet),
        tls_min_version: "VersionTLS12",
        cluster_domain: config.cluster_domain.to_string(),
        cluster_dns: [config.cluster_dns()],
        container_runtime_endpoint: format!("unix://{}", socket.display()),
        volume_plugin_dir: volume_plugins(layout),
        feature_gates: [("KubeletInUserNamespace", true)].into(),
        fail_swap_on: false,
        // The cgroups below RootlessKit's unit are delegated to us, and systemd cannot be reached from the namespaces.
        cgroup_driver: "cgroupfs",
        cgroups_per_qos: cgroups,
        // It writes the limits of what remains into the control group of all pods, `kubepods`.
        enforce_node_allocatable: if cgroups { &["pods"] } else { &[] },
        system_reserved: bounds.reserved,
        eviction_hard: bounds.eviction_hard,
        image_gc_high_threshold_percent: bounds.image_gc_high,
        image_gc_low_threshold_percent: bounds.image_gc_low,
        // Without it, the kubelet does not find the file system of images and never evicts a pod.
        local_storage_capacity_isolation: true,
        pod_pids_limit: config.resources.pod_pids,
        // Containers that do not ask for another filter of system calls get the one of the container runtime.
        seccomp_default: true,
        // It must not exceed LimitNOFILE of the unit.
        max_open_files: 65536,
        // systemd starts a user's services with 200, and they cannot lower it.
        oom_score_adj: 200,
    };
    vec![(config_file(layout), json(&configuration))]
}
