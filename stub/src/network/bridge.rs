//! A bridge on each node, and its configuration, which the container runtime hands to the CNI plugins.

use serde::Serialize;

use crate::cidr::Cidr;
use crate::config::Config;
use crate::render::{ConfigFile, json};

/// Where container runtimes look for it, inside the namespaces.
pub const CONFIG_DIR: &str = "/etc/cni/net.d";

/// Where plugins that the user adds are looked for, inside the namespaces, after the generation's own.
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

/// The network of this node's pods, as a bridge has to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridge {
    /// The pods' addresses.
    pub subnet: Cidr,
    /// The largest packet in bytes; `None` is the kernel's choice.
    pub mtu: Option<u32>,
    /// Whether the bridge's plugin hides pods behind the node's address where they leave their network.
    pub masquerade: bool,
}

/// The network of all pods, where one bridge connects them.
pub(super) fn alone(config: &Config) -> Bridge {
    Bridge {
        subnet: config.network.pods,
        mtu: None,
        masquerade: true,
    }
}

impl Bridge {
    /// The file in [`CONFIG_DIR`]. The bridge's hairpin mode lets a pod reach itself through its own service.
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
