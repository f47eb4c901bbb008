//! The kernel's features for the network of pods, checked by using each of them in a network namespace.
//!
//! Lists of modules tell less: features that are built in are in none of them, and the kernel loads most modules when they
//! are first needed. Only `br_netfilter` must be loaded by the administrator, because nothing requests it.

use std::io;
use std::path::Path;

use super::{CheckId, Finding, Level, netlink};
use crate::config::{Cni, Config, Cri};

const ID: CheckId = CheckId::KernelNetwork;
/// The kernel shows this file for the network namespace of the process that reads it, since Linux 5.3.
const BRIDGE: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// This file exists if iptables works without `nf_tables`.
const LEGACY_IPTABLES: &str = "/proc/self/net/ip_tables_names";
const MODULES: &str = "/etc/modules-load.d/usernetes.conf";

struct Feature {
    /// Its name in the probe's answers.
    name: &'static str,
    /// Its module, if it is not built in.
    module: &'static str,
    /// Its purpose.
    purpose: &'static str,
    /// The pod network that needs it; `None` if all do.
    for_network: Option<Cni>,
    make: fn() -> io::Result<()>,
}

const FEATURES: [Feature; 5] = [
    Feature {
        name: "bridge",
        module: "bridge",
        purpose: "it connects pods",
        for_network: None,
        make: || netlink::device("bridge"),
    },
    Feature {
        name: "veth",
        module: "veth",
        purpose: "it connects pods to the bridge",
        for_network: None,
        make: || netlink::device("veth"),
    },
    Feature {
        name: "br_netfilter",
        module: "br_netfilter",
        purpose: "it lets services answer pods on the same bridge",
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
        purpose: "it translates addresses of services to those of pods",
        for_network: None,
        make: || match netlink::nat_chain() {
            Err(_) if Path::new(LEGACY_IPTABLES).exists() => Ok(()),
            result => result,
        },
    },
    Feature {
        name: "vxlan",
        module: "vxlan",
        purpose: "flannel connects machines with it",
        for_network: Some(Cni::Flannel),
        make: || netlink::device("vxlan"),
    },
];

/// Tries every feature in this process's network namespace. Gives a line for each: its name, and `ok` or the error.
pub(super) fn answers() -> Vec<String> {
    let line = |feature: &Feature| match (feature.make)() {
        Ok(()) => format!("{} ok", feature.name),
        Err(error) => format!("{} {error}", feature.name),
    };
    FEATURES.iter().map(line).collect()
}

/// Judges the [`answers`] of the probe, which are empty if it failed before.
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
                let found = "not checked, because that needs a network namespace";
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
        format!("network namespaces lack {}", found.join(", ")),
    )
    .expected(expected.join("; "))
    .fix("ask an administrator to run the commands below")
    .admin(
        commands,
        [
            format!("rm -f {MODULES}"),
            "# the modules are gone after the next boot".to_owned(),
        ],
    )
}
