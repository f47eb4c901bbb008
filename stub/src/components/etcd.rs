//! etcd, with a single member or with one on each control plane. etcd 3.5 and 3.6 both accept the flags used here.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DnsName, ETCD_PEER_PORT, ETCD_PORT};
use crate::layout::{Credential, Layout};
use crate::render::Args;

/// The address at which it answers clients. It is on the loopback interface of the namespaces, because only the API server
/// needs it.
pub const CLIENT_URL: &str = "https://127.0.0.1:2379";
/// The address at which it answers other members. They reach it through a port of the machine that leads there.
const PEER_URL: &str = "https://127.0.0.1:2380";
/// The name of the first member. It differs from the node's name, which may change while the data directory stays.
pub const FOUNDER: &str = "u7s";

/// The name of a member that joins on the machine with this node.
#[must_use]
pub fn member_name(node: &DnsName) -> String {
    format!("{FOUNDER}-{node}")
}

/// Where other control planes reach the etcd of a machine as clients.
#[must_use]
pub fn client_url(address: Ipv4Addr) -> String {
    format!("https://{address}:{ETCD_PORT}")
}

/// Where they reach it as members.
#[must_use]
pub fn peer_url(address: Ipv4Addr) -> String {
    format!("https://{address}:{ETCD_PEER_PORT}")
}

/// How the member of a machine that has joined others starts for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Its name.
    pub name: String,
    /// All members with their addresses, as `name=url` with commas between them.
    pub initial_cluster: String,
}

/// The largest size of the database, in bytes. When it is reached, etcd raises an alarm and accepts no more changes. The
/// default is 2 GiB, and etcd's documentation ("System limits") advises against more than 8 GiB.
pub const QUOTA: u64 = 4 << 30;

/// The flags with which its data is made, for a single member.
#[must_use]
pub fn membership() -> Vec<String> {
    Args::default()
        .flag("name", FOUNDER)
        .flag("initial-cluster", format!("{FOUNDER}={PEER_URL}"))
        .flag("initial-advertise-peer-urls", PEER_URL)
        .0
}

/// How long, in milliseconds, a leader and a follower may say nothing to each other. The defaults, 100 and 1000, are for
/// machines that do nothing else; through the user-mode network of busy ones, a leader would be lost again and again. Another
/// one is elected within seconds all the same.
const HEARTBEAT: u32 = 300;
const ELECTION: u32 = 3000;

/// etcd's command line. Clients and peers must present a certificate that etcd's own authority has signed. `joining` describes
/// the member of a machine that has joined others.
///
/// The API server of each machine uses the member of its own machine only. With all of them it would wait for one on a machine
/// that is down for as long as it takes to notice that, and half of its requests would go over the network.
#[must_use]
pub fn args(layout: &Layout, config: &Config, joining: Option<&Joining>) -> Vec<String> {
    let address = config.machines.peer_address();
    let name = joining.map_or(FOUNDER, |joining| &joining.name);
    let peer_url = address.map_or_else(|| PEER_URL.to_owned(), peer_url);
    let initial_cluster = match joining {
        Some(joining) => joining.initial_cluster.clone(),
        None => format!("{name}={peer_url}"),
    };
    let mut args = Args::of(layout, "etcd")
        .flag("name", name)
        .path("data-dir", layout.etcd_data())
        .flag("listen-client-urls", CLIENT_URL)
        .flag(
            "advertise-client-urls",
            address.map_or_else(|| CLIENT_URL.to_owned(), client_url),
        )
        .flag("listen-peer-urls", PEER_URL)
        .flag("initial-advertise-peer-urls", &peer_url)
        .flag("initial-cluster", initial_cluster);
    // Without data, it would found a cluster of its own.
    if joining.is_some() {
        args = args.flag("initial-cluster-state", "existing");
    }
    if address.is_some() {
        args = args
            .flag("heartbeat-interval", HEARTBEAT)
            .flag("election-timeout", ELECTION);
    }
    args.path("cert-file", layout.certificate(Credential::Etcd))
        .path("key-file", layout.key(Credential::Etcd))
        .path(
            "trusted-ca-file",
            layout.certificate(Credential::EtcdAuthority),
        )
        .flag("client-cert-auth", true)
        .path("peer-cert-file", layout.certificate(Credential::EtcdPeer))
        .path("peer-key-file", layout.key(Credential::EtcdPeer))
        .path(
            "peer-trusted-ca-file",
            layout.certificate(Credential::EtcdAuthority),
        )
        .flag("peer-client-cert-auth", true)
        .flag("tls-min-version", "TLS1.2")
        .flag("quota-backend-bytes", QUOTA)
        // etcd keeps all changes since its last snapshot in memory: 3.4 kB each in a working cluster. The default of 3.5 is 100,000
        // of them, that of 3.6 is this one.
        .flag("snapshot-count", 10_000)
        // The API server compacts every five minutes, but only what it has written itself.
        .flag("auto-compaction-mode", "periodic")
        .flag("auto-compaction-retention", "1h")
        .0
}
