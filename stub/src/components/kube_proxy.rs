//! kube-proxy.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::layout::{Kubeconfig, Layout};
use crate::render::{Args, ConfigFile, json};

/// The kernel interface with which it forwards packets to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// nftables. Node ports do not answer on 127.0.0.1.
    Nftables,
    /// iptables. Node ports also answer on 127.0.0.1.
    Iptables,
}

fn config_file(layout: &Layout) -> PathBuf {
    layout.runtime("kube-proxy.json")
}

/// kube-proxy's command line.
#[must_use]
pub fn args(layout: &Layout) -> Vec<String> {
    Args::of(layout, "kube-proxy")
        .path("config", config_file(layout))
        .0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeProxyConfiguration {
    api_version: &'static str,
    kind: &'static str,
    client_connection: ClientConnection,
    #[serde(rename = "clusterCIDR")]
    cluster_cidr: String,
    conntrack: Conntrack,
    hostname_override: String,
    mode: Mode,
    oom_score_adj: i16,
}

#[derive(Serialize)]
struct ClientConnection {
    kubeconfig: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conntrack {
    max_per_core: u32,
    tcp_established_timeout: &'static str,
    tcp_close_wait_timeout: &'static str,
}

/// kube-proxy's configuration file. `identity` is what it connects to the API server with.
#[must_use]
pub fn files(
    layout: &Layout,
    config: &Config,
    mode: Mode,
    identity: Kubeconfig,
) -> Vec<ConfigFile> {
    let configuration = KubeProxyConfiguration {
        api_version: "kubeproxy.config.k8s.io/v1alpha1",
        kind: "KubeProxyConfiguration",
        client_connection: ClientConnection {
            kubeconfig: layout.kubeconfig(identity),
        },
        cluster_cidr: config.network.pods.to_string(),
        // Zero leaves the kernel's settings as they are. An unprivileged user cannot change them.
        conntrack: Conntrack {
            max_per_core: 0,
            tcp_established_timeout: "0s",
            tcp_close_wait_timeout: "0s",
        },
        hostname_override: config.node_name.to_string(),
        mode,
        // systemd starts a user's services with 200, and they cannot lower it.
        oom_score_adj: 200,
    };
    vec![(config_file(layout), json(&configuration))]
}
