//! Which connections a request may take: a proxy never comes between us and this machine, and plain HTTP never leaves it
//! unless the bytes are checked afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::redirect::Policy;
use stub::error::Result;

use super::failure::root_cause;
use super::{Settings, connection};

/// The only name that stands for this machine. It is not looked up: see [`client`].
const LOCALHOST: &str = "localhost";

/// The proof that the bytes of an answer are the right ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing but the connection: it has to be TLS, or not leave this machine.
    Connection,
    /// A digest or a signature, which the caller checks. Any connection will do.
    Content,
}

/// Whether an address leads to this machine: `localhost`, 127.0.0.0/8, `::1`, or an IPv4 one of these written as IPv6.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == LOCALHOST || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Refuses plain HTTP where anybody in between could change the bytes unnoticed. The error says why.
pub(super) fn check(url: &Url, proof: Proof) -> Result<(), String> {
    if proof == Proof::Content || url.scheme() != "http" || is_loopback(url) {
        return Ok(());
    }
    Err(format!(
        "{url} is plain HTTP, and a file without a known digest may come over plain HTTP only from this machine"
    ))
}

/// A client for addresses on this machine, which never uses a proxy, or for all other addresses.
pub(super) fn client(settings: &Settings, loopback: bool) -> Result<Client> {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = ClientBuilder::new()
        .user_agent(concat!("usernetes-builder/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(settings.connect)
        // For the blocking client this is not the time of the whole request, but of each wait for more of it.
        .timeout(settings.stall);
    if loopback {
        // A name server that has another idea of `localhost` would lead plain HTTP elsewhere.
        let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        let here = here.map(|address| SocketAddr::new(address, 0));
        builder = builder.resolve_to_addrs(LOCALHOST, &here);
    }
    if loopback || !settings.proxies {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|e| connection::no_certificates(&root_cause(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_several_addresses_and_one_name() {
        let loopback = |host: &str| is_loopback(&Url::parse(&format!("http://{host}/x")).unwrap());
        for here in [
            "localhost",
            "LocalHost:5000",
            "127.0.0.1",
            "127.3.2.1:5000",
            "127.1",
            "[::1]:5000",
            "[::ffff:127.0.0.1]:5000",
        ] {
            assert!(loopback(here), "{here}");
        }
        for elsewhere in [
            "localhost.example",
            "127.0.0.1.example:5000",
            "10.0.0.1",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "0.0.0.0",
        ] {
            assert!(!loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn plain_http_leaves_this_machine_only_for_what_is_checked_afterwards() {
        let check = |url: &str, proof| check(&Url::parse(url).unwrap(), proof);
        for fine in ["https://a/", "https://127.0.0.1/", "http://[::1]:5000/"] {
            assert!(check(fine, Proof::Connection).is_ok(), "{fine}");
        }
        assert!(check("http://mirror.example/", Proof::Content).is_ok());
        insta::assert_snapshot!(check("http://10.0.0.1/v2/", Proof::Connection).unwrap_err(), @"http://10.0.0.1/v2/ is plain HTTP, and a file without a known digest may come over plain HTTP only from this machine");
    }
}
