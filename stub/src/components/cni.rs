//! The pod network's configuration, which the container runtime hands to the CNI plugins.

use serde::Serialize;

use super::{ConfigFile, json};
use crate::config::{Cni, Config};

/// Where container runtimes look for it, inside the namespaces.
pub const CONFIG_DIR: &str = "/etc/cni/net.d";

/// Where plugins that the user adds are looked for, inside the namespaces, after the generation's own.
pub const EXTRA_PLUGINS: &str = "/opt/cni/bin";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkList {
    cni_version: &'static str,
    name: &'static str,
    plugins: Vec<Plugin>,
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
        ipam: Ipam,
    },
    Flannel {
        delegate: Delegate,
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
struct Delegate {
    hairpin_mode: bool,
    is_default_gateway: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
}

/// The file in [`CONFIG_DIR`]. The bridge's hairpin mode lets a pod reach itself through its own service.
#[must_use]
pub fn files(config: &Config) -> Vec<ConfigFile> {
    let (name, first) = match config.cni {
        Cni::Bridge => (
            "u7s-bridge",
            Plugin::Bridge {
                bridge: "cni0",
                is_gateway: true,
                ip_masq: true,
                hairpin_mode: true,
                ipam: Ipam {
                    kind: "host-local",
                    ranges: [[Range {
                        subnet: config.network.pods.to_string(),
                    }]],
                    routes: [Route { dst: "0.0.0.0/0" }],
                },
            },
        ),
        Cni::Flannel => (
            "u7s-flannel",
            Plugin::Flannel {
                delegate: Delegate {
                    hairpin_mode: true,
                    is_default_gateway: true,
                },
            },
        ),
    };
    let portmap = Plugin::Portmap {
        capabilities: Capabilities {
            port_mappings: true,
        },
    };
    let list = NetworkList {
        cni_version: "1.0.0",
        name,
        plugins: vec![first, portmap],
    };
    vec![(format!("{CONFIG_DIR}/10-u7s.conflist").into(), json(&list))]
}
