//! etcd with a single member. etcd 3.5 and 3.6 both accept the flags used here.

use crate::layout::Layout;
use crate::render::Args;

/// The address at which it answers clients. It is on the loopback interface of the namespaces, because only the API server
/// needs it.
pub const CLIENT_URL: &str = "https://127.0.0.1:2379";
/// The address at which it would answer other members.
const PEER_URL: &str = "https://127.0.0.1:2380";
/// The member's name. It differs from the node's name, which may change while the data directory stays.
const MEMBER: &str = "u7s";

/// The flags with which its data is made, for a single member.
#[must_use]
pub fn membership() -> Vec<String> {
    Args::default()
        .flag("name", MEMBER)
        .flag("initial-cluster", format!("{MEMBER}={PEER_URL}"))
        .flag("initial-advertise-peer-urls", PEER_URL)
        .0
}

/// etcd's command line. Clients and peers must present a certificate that etcd's own authority has signed.
#[must_use]
pub fn args(layout: &Layout) -> Vec<String> {
    Args::of(layout, "etcd")
        .flag("name", MEMBER)
        .path("data-dir", layout.data("etcd"))
        .flag("listen-client-urls", CLIENT_URL)
        .flag("advertise-client-urls", CLIENT_URL)
        .flag("listen-peer-urls", PEER_URL)
        .flag("initial-advertise-peer-urls", PEER_URL)
        .flag("initial-cluster", format!("{MEMBER}={PEER_URL}"))
        .path("cert-file", layout.master("etcd.pem"))
        .path("key-file", layout.master("etcd-key.pem"))
        .path("trusted-ca-file", layout.master("etcd-ca.pem"))
        .flag("client-cert-auth", true)
        .path("peer-cert-file", layout.master("etcd-peer.pem"))
        .path("peer-key-file", layout.master("etcd-peer-key.pem"))
        .path("peer-trusted-ca-file", layout.master("etcd-ca.pem"))
        .flag("peer-client-cert-auth", true)
        .flag("tls-min-version", "TLS1.2")
        .0
}
