//! What the kernel must have for the network of pods, found by making it in a network namespace.
//!
//! Lists of modules tell less: what is built in is in none of them, and most of the rest the kernel loads when it is first
//! wanted. What only the administrator can load is `br_netfilter`, which nothing asks for by itself.

use std::io;
use std::path::Path;

use super::{Finding, Level, netlink};
use crate::config::{Cni, Config, Cri};

const ID: &str = "kernel-network";
/// In the network namespace of whoever reads it, since Linux 5.3.
const BRIDGE: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// There where iptables can do without `nf_tables`.
const LEGACY_IPTABLES: &str = "/proc/self/net/ip_tables_names";
const MODULES: &str = "/etc/modules-load.d/usernetes.conf";

struct Feature {
    /// What the probe calls it.
    name: &'static str,
    /// The module it is in where it is not built in.
    module: &'static str,
    /// What it is for.
    purpose: &'static str,
    /// The pod network that needs it; `None` if all do.
    for_network: Option<Cni>,
    make: fn() -> io::Result<()>,
}

const FEATURES: [Feature; 5] = [
    Feature {
        name: "bridge",
        module: "bridge",
        purpose: "pods are connected by it",
        for_network: None,
        make: || netlink::device("bridge"),
    },
    Feature {
        name: "veth",
        module: "veth",
        purpose: "pods are connected to the bridge by it",
        for_network: None,
        make: || netlink::device("veth"),
    },
    Feature {
        name: "br_netfilter",
        module: "br_netfilter",
        purpose: "services answer pods on the same bridge",
        for_network: None,
        make: || {
            let there = Path::new(BRIDGE).exists();
            let missing = || io::Error::other(format!("no {BRIDGE}"));
            there.then_some(()).ok_or_else(missing)
        },
    },
    Feature {
        name: "nat",
        module: "nft_chain_nat",
        purpose: "services are translated to pods by it",
        for_network: None,
        make: || match netlink::nat_chain() {
            Err(_) if Path::new(LEGACY_IPTABLES).exists() => Ok(()),
            result => result,
        },
    },
    Feature {
        name: "vxlan",
        module: "vxlan",
        purpose: "flannel connects machines by it",
        for_network: Some(Cni::Flannel),
        make: || netlink::device("vxlan"),
    },
];

/// Makes everything in this process's network namespace: a line for each, its name and `ok` or why not.
pub(super) fn answers() -> Vec<String> {
    let line = |feature: &Feature| match (feature.make)() {
        Ok(()) => format!("{} ok", feature.name),
        Err(error) => format!("{} {error}", feature.name),
    };
    FEATURES.iter().map(line).collect()
}

/// Judges the [`answers`] of the probe, which are empty if it could not get that far.
pub(super) fn network(config: &Config, answers: &[String]) -> Finding {
    if config.cri == Cri::None {
        return Finding::ok(ID, "nothing is needed without a container runtime");
    }
    let needed: Vec<_> = FEATURES
        .iter()
        .filter(|feature| feature.for_network.is_none_or(|cni| cni == config.cni))
        .collect();
    let answer = |feature: &Feature| {
        let words = answers.iter().filter_map(|line| line.split_once(' '));
        words
            .filter(|(name, _)| *name == feature.name)
            .map(|(_, answer)| answer)
            .next()
    };
    let mut lacking = Vec::new();
    for feature in &needed {
        match answer(feature) {
            None => {
                let found = "not looked at: that takes a network namespace";
                return Finding::new(ID, Level::Note, found);
            }
            Some("ok") => {}
            Some(reason) => lacking.push((feature, reason)),
        }
    }
    if lacking.is_empty() {
        let names: Vec<_> = needed.iter().map(|feature| feature.name).collect();
        return Finding::ok(ID, format!("has {}", names.join(", ")));
    }
    let level = if config.runs_pods() {
        Level::Fatal
    } else {
        Level::Warn
    };
    let mut modules = Vec::new();
    let mut found = Vec::new();
    let mut expected = Vec::new();
    for (feature, reason) in lacking {
        modules.push(feature.module);
        found.push(format!("{} ({reason})", feature.name));
        expected.push(format!("{}: {}", feature.name, feature.purpose));
    }
    let mut commands = vec![format!("modprobe -a {}", modules.join(" "))];
    commands.extend(
        modules
            .iter()
            .map(|module| format!("grep -qsx {module} {MODULES} || echo {module} >>{MODULES}")),
    );
    Finding::new(
        ID,
        level,
        format!("network namespaces have no {}", found.join(", ")),
    )
    .expected(expected.join("; "))
    .fix("have the block for the administrator run")
    .admin(
        commands,
        [
            format!("rm -f {MODULES}"),
            "# the modules are gone after the next boot".to_owned(),
        ],
    )
}
