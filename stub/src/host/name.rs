//! The name that this machine has in its cluster.

use super::{CheckId, Finding, Level, Machine};
use crate::config::{Config, DnsName};

const ID: CheckId = CheckId::NodeName;

/// Notes that the node's name differs from the host name that it was made from.
pub(super) fn node_name(machine: &Machine, config: &Config) -> Finding {
    let (host, node) = (machine.host_name(), &config.node_name);
    if *node != DnsName::derive(&host) || host.to_ascii_lowercase() == node.as_str() {
        return Finding::ok(ID, node.to_string());
    }
    let found = format!(
        "this machine is called `{}`, its node `{node}`",
        host.escape_debug()
    );
    Finding::new(ID, Level::Note, found)
        .expected("at most 63 lower-case letters, digits, `-` and `.`, as Kubernetes requires")
        .fix("to choose another name, run `install --node-name NAME` before the cluster has data")
}
