//! flannel, which connects the pods of several nodes: the command line, configuration and permissions of its daemon.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json as object};

use super::Bridge;
use crate::cidr::Cidr;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::layout::{Kubeconfig, Layout};
use crate::render::{Args, ConfigFile, cluster_role, cluster_role_binding, json, user};

fn config_file(layout: &Layout) -> PathBuf {
    layout.runtime("flannel/net-conf.json")
}

/// The daemon's command line. `public_ip` is the address at which other machines reach this one, `identity` what it connects to
/// the API server with.
///
/// The environment variable `NODE_NAME` must hold the node's name. The daemon exits if the node has no pod network yet, and
/// must then be started again.
#[must_use]
pub fn args(layout: &Layout, public_ip: Ipv4Addr, identity: Kubeconfig) -> Vec<String> {
    Args::of(layout, "flanneld")
        .flag("kube-subnet-mgr", true)
        .path("kubeconfig-file", layout.kubeconfig(identity))
        .path("net-config-path", config_file(layout))
        .flag("iface", "tap0")
        .flag("public-ip", public_ip)
        .flag("ip-masq", true)
        .0
}

/// The file, inside the namespaces, to which the daemon writes the network of the node's pods.
pub const SUBNET_FILE: &str = "/run/flannel/subnet.env";

/// Parses the contents of [`SUBNET_FILE`]. The bridge does not masquerade, because flannel itself does.
pub fn bridge(text: &str) -> Result<Bridge> {
    let value = |key: &str| {
        let line = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.trim().to_owned());
        text.lines().find_map(line)
    };
    let (subnet, mtu) = (value("FLANNEL_SUBNET"), value("FLANNEL_MTU"));
    let (Some(subnet), Some(mtu)) = (subnet, mtu.and_then(|mtu| mtu.parse().ok())) else {
        return Err(Error::new(
            Kind::Input,
            "cannot read flannel's description of the pod network",
        )
        .expected("lines `FLANNEL_SUBNET=…` and `FLANNEL_MTU=…`")
        .found(format!("`{}`", text.escape_debug())));
    };
    Ok(Bridge {
        subnet: Cidr::around(&subnet)?,
        mtu: Some(mtu),
        masquerade: false,
    })
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
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    #[serde(rename = "MTU", skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

/// The daemon's configuration file.
#[must_use]
pub fn files(layout: &Layout, config: &Config) -> Vec<ConfigFile> {
    let several = config.machines.address.is_some();
    let net_conf = NetConf {
        network: config.network.pods.to_string(),
        backend: Backend {
            kind: "vxlan",
            port: several.then_some(config.machines.vxlan_port),
            // Earlier releases of flannel do not know this key. The bridge has the right size in any case.
            mtu: several.then_some(config.machines.mtu),
        },
    };
    vec![(config_file(layout), json(&net_conf))]
}

/// The daemon's permissions: it reads all nodes, and writes into the status of its own node how other nodes reach it.
pub(super) fn objects(config: &Config) -> Vec<Value> {
    vec![
        cluster_role(
            "u7s:flannel",
            &object!([
                { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
                {
                    "apiGroups": [""],
                    "resources": ["nodes/status"],
                    "resourceNames": [config.node_name.as_str()],
                    "verbs": ["patch"],
                },
            ]),
        ),
        cluster_role_binding("u7s:flannel", "u7s:flannel", &user("system:flannel")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_the_nodes_pods_is_read() {
        let text = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.3.1/24\nFLANNEL_MTU=65470\nFLANNEL_IPMASQ=true\n";
        let expected = Bridge {
            subnet: "10.5.3.0/24".parse().unwrap(),
            mtu: Some(65470),
            masquerade: false,
        };
        assert_eq!(bridge(text).unwrap(), expected);
        for bad in [
            "",
            "FLANNEL_SUBNET=10.5.3.1/24\n",
            "FLANNEL_SUBNET=x\nFLANNEL_MTU=1\n",
        ] {
            assert!(bridge(bad).is_err(), "{bad}");
        }
    }
}
