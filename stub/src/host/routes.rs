//! Networks of the cluster that this machine already has a route to.

use std::net::Ipv4Addr;

use super::{CheckId, Finding, Level, Machine};
use crate::cidr::Cidr;
use crate::config::{Config, Network};

const ID: CheckId = CheckId::Networks;
/// The IPv4 routes of the machine, after a line of headings.
pub(super) const ROUTES: &str = "/proc/net/route";
/// `RTF_REJECT` of linux/route.h: a route to nowhere.
const REJECT: u32 = 0x200;

/// The key of the network between this machine and its part of the cluster. The others are the same on all machines.
const OWN: &str = "network.rootlesskit";

/// A route of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) interface: String,
    pub(super) network: Cidr,
    /// Whether it leads there without a gateway.
    pub(super) direct: bool,
}

impl Route {
    /// A line of `/proc/net/route`: `Iface Destination Gateway Flags RefCnt Use Metric Mask …`. Addresses are numbers
    /// in the machine's byte order. The default route collides with nothing: every more specific route takes precedence.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let columns: Vec<_> = line.split_whitespace().collect();
        let number = |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok();
        let address = |index: usize| Some(Ipv4Addr::from(number(index)?.to_ne_bytes()));
        let (destination, gateway, mask) = (address(1)?, address(2)?, address(7)?);
        if mask.is_unspecified() || number(3)? & REJECT != 0 {
            return None;
        }
        let prefix = u8::try_from(u32::from(mask).leading_ones()).ok()?;
        let network = Cidr::new(destination, prefix).ok()?;
        Some(Self {
            interface: (*columns.first()?).to_owned(),
            network,
            direct: gateway.is_unspecified(),
        })
    }
}

/// One finding for each network of the cluster that overlaps one of the machine's routes. `kept` are the networks of a cluster
/// that has data. It works as before if a route has come since, for example of a VPN, so that is only a warning: otherwise
/// neither an upgrade nor the way back would be possible while the VPN is connected. A worker can only choose the network that is
/// its own.
pub(super) fn collisions(
    machine: &Machine,
    config: &Config,
    kept: Option<&Network>,
) -> Vec<Finding> {
    let Some(text) = machine.read(ROUTES) else {
        return vec![Finding::new(
            ID,
            Level::Note,
            format!("{ROUTES} cannot be read"),
        )];
    };
    let routes: Vec<_> = text.lines().skip(1).filter_map(Route::parse).collect();
    let wanted = wanted(&config.network);
    // A network that is proposed for one of them is no longer free for the next.
    let mut others = wanted.map(|(_, cidr, _)| cidr).to_vec();
    let mut findings = Vec::new();
    for (index, (key, cidr, flag)) in wanted.into_iter().enumerate() {
        let Some(route) = routes.iter().find(|r| r.network.overlaps(cidr)) else {
            continue;
        };
        let unchanged = kept.is_some_and(|kept| self::wanted(kept)[index].1 == cidr);
        let found = format!(
            "`{key}` is {cidr}, but this machine has a route to {} by {}",
            route.network, route.interface
        );
        if unchanged {
            findings.push(
                Finding::new(ID, Level::Warn, found)
                    .expected("a network this machine has no route to")
                    .fix("the cluster goes on as before; only programs inside it do not reach the machines at those addresses while the route is there"),
            );
            continue;
        }
        let proposal = free(cidr, &routes, &others);
        others.extend(proposal);
        let proposal = proposal.map_or_else(String::new, |free| format!(", for example {free}"));
        let fix = if config.machines.is_worker() && key != OWN {
            format!(
                "all machines of the cluster have this network: take the route away, or make the cluster with another network, {flag} NETWORK{proposal}"
            )
        } else {
            format!("choose another network with {flag} NETWORK{proposal}")
        };
        findings.push(
            Finding::new(ID, Level::Fatal, found)
                .expected("a network this machine has no route to: the cluster could not reach the machines there")
                .fix(fix),
        );
    }
    if findings.is_empty() {
        let list = wanted.map(|(_, cidr, _)| cidr.to_string()).join(", ");
        findings.push(Finding::ok(ID, format!("no route leads to {list}")));
    }
    findings
}

/// The networks of a cluster, with their keys in `config.toml` and their flags of `install`.
fn wanted(network: &Network) -> [(&'static str, Cidr, &'static str); 3] {
    [
        (OWN, network.rootlesskit, "--cidr"),
        ("network.services", network.services, "--services"),
        ("network.pods", network.pods, "--pods"),
    ]
}

/// A network of the same size in 10.0.0.0/8 or 172.16.0.0/12 that overlaps neither a route nor another network of the
/// cluster.
fn free(like: Cidr, routes: &[Route], others: &[Cidr]) -> Option<Cidr> {
    let prefix = like.prefix().max(16);
    let candidates = (64..=255).map(|n| Ipv4Addr::new(10, n, 0, 0));
    let candidates = candidates.chain((16..=31).map(|n| Ipv4Addr::new(172, n, 0, 0)));
    candidates
        .filter_map(|address| Cidr::new(address, prefix).ok())
        .find(|candidate| {
            !routes.iter().any(|r| r.network.overlaps(*candidate))
                && !others.iter().any(|o| o.overlaps(*candidate))
        })
}
