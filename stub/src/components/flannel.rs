//! flannel's daemon.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::{Args, ConfigFile, json};
use crate::config::Config;
use crate::layout::Layout;

fn config_file(layout: &Layout) -> PathBuf {
    layout.runtime("flannel/net-conf.json")
}

/// Its command line. `public_ip` is this host's address as the other machines see it.
///
/// The environment variable `NODE_NAME` must hold the node's name. It exits while the node has no pod network yet: restart it.
#[must_use]
pub fn args(layout: &Layout, public_ip: Ipv4Addr) -> Vec<String> {
    Args::of(layout, "flanneld")
        .flag("kube-subnet-mgr", true)
        .path("kubeconfig-file", layout.node("flannel.kubeconfig"))
        .path("net-config-path", config_file(layout))
        .flag("iface", "tap0")
        .flag("public-ip", public_ip)
        .flag("ip-masq", true)
        .0
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetConf {
    network: String,
    backend: Backend,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Backend {
    #[serde(rename = "Type")]
    kind: &'static str,
}

/// Its configuration file.
#[must_use]
pub fn files(layout: &Layout, config: &Config) -> Vec<ConfigFile> {
    let net_conf = NetConf {
        network: config.network.pods.to_string(),
        backend: Backend { kind: "vxlan" },
    };
    vec![(config_file(layout), json(&net_conf))]
}
