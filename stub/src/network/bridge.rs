//! The bridge that connects the pods of a node: its configuration, which the container runtime passes to the CNI plugins.

use serde::Serialize;

use crate::cidr::Cidr;
use crate::config::Config;
use crate::render::{ConfigFile, json};

/// The directory, inside the namespaces, in which container runtimes look for the configuration.
pub const CONFIG_DIR: &str = "/etc/cni/net.d";

/// The directory, inside the namespaces, for plugins that the user adds. It is searched after the generation's plugins.
pub const EXTRA_PLUGINS: &str = "/opt/cni/bin";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkList {
    cni_version: &'static str,
    name: &'static str,
    plugins: [Plugin; 2],
}

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
enum Plugin {
    Bridge {
        bridge: &'static str,
        is_gateway: bool,
        ip_masq: bool,
        hairpin_mode: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
        ipam: Ipam,
    },
    Portmap {
        capabilities: Capabilities,
    },
}

#[derive(Serialize)]
struct Ipam {
    #[serde(rename = "type")]
    kind: &'static str,
    ranges: [[Range; 1]; 1],
    routes: [Route; 1],
}

#[derive(Serialize)]
struct Range {
    subnet: String,
}

#[derive(Serialize)]
struct Route {
    dst: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
}

/// The network of this node's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridge {
    /// The addresses of the pods.
    pub subnet: Cidr,
    /// The size of the largest packet, in bytes; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// Whether the bridge plugin replaces a pod's address with the node's in packets that leave the pod network.
    pub masquerade: bool,
}

/// The network of all pods in a cluster where a single bridge connects them.
pub(super) fn alone(config: &Config) -> Bridge {
    Bridge {
        subnet: config.network.pods,
        mtu: None,
        masquerade: true,
    }
}

impl Bridge {
    /// The configuration file in [`CONFIG_DIR`]. The bridge's hairpin mode lets a pod reach itself through its own
    /// service.
    #[must_use]
    pub fn file(self) -> ConfigFile {
        let bridge = Plugin::Bridge {
            bridge: "cni0",
            is_gateway: true,
            ip_masq: self.masquerade,
            hairpin_mode: true,
            mtu: self.mtu,
            ipam: Ipam {
                kind: "host-local",
                ranges: [[Range {
                    subnet: self.subnet.to_string(),
                }]],
                routes: [Route { dst: "0.0.0.0/0" }],
            },
        };
        let portmap = Plugin::Portmap {
            capabilities: Capabilities {
                port_mappings: true,
            },
        };
        let list = NetworkList {
            cni_version: "1.0.0",
            name: "u7s-bridge",
            plugins: [bridge, portmap],
        };
        (format!("{CONFIG_DIR}/10-u7s.conflist").into(), json(&list))
    }
}
