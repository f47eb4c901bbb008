//! A port published on the host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// A port of the host that leads into the cluster's network namespace, written as RootlessKit writes it:
/// `IP:PORT:CHILDPORT/PROTO` or `IP:PORT:CHILDIP:CHILDPORT/PROTO`, an IPv6 address in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct PortSpec {
    /// Address on the host; `0.0.0.0` is every IPv4 address, `::` every IPv6 address.
    pub ip: IpAddr,
    /// Port on the host.
    pub port: NonZeroU16,
    /// Address in the namespace; the cluster's own ([`Config::node_ip`](super::Config::node_ip)) when absent.
    pub child_ip: Option<Ipv4Addr>,
    /// Port in the namespace.
    pub child_port: NonZeroU16,
    /// Its protocol.
    pub proto: Proto,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proto {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

impl Proto {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl PortSpec {
    /// The API server's port, on the loopback interface only.
    pub const API: Self = Self {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: API_PORT,
        child_ip: None,
        child_port: API_PORT,
        proto: Proto::Tcp,
    };

    /// The port as it is passed to RootlessKit: `192.0.2.7:8080:10.0.42.100:8080/tcp4`. `node_ip` is the cluster's own
    /// address.
    ///
    /// Without a child address, RootlessKit would connect to the host's address from within the namespace. There it still
    /// belongs to the host, so that each connection would leave the namespace and come in again without end. All programs
    /// answer on the cluster's own address, except those that listen on 127.0.0.1 alone; node ports do not always answer
    /// on 127.0.0.1. The version in `tcp4` is there because `tcp` at 0.0.0.0 would listen for IPv6 as well; for IPv6,
    /// publish the port at `[::]`, too.
    #[must_use]
    pub fn for_rootlesskit(&self, node_ip: Ipv4Addr) -> String {
        let explicit = Self {
            child_ip: Some(self.child_ip.unwrap_or(node_ip)),
            ..*self
        };
        let version = if self.ip.is_ipv4() { 4 } else { 6 };
        format!("{explicit}{version}")
    }

    /// Whether both lead into the cluster in the same way, with the child address written or not.
    #[must_use]
    pub fn is_same_way(&self, other: &Self, node_ip: Ipv4Addr) -> bool {
        self.for_rootlesskit(node_ip) == other.for_rootlesskit(node_ip)
    }

    /// Whether both need the same port of the host.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        let every = self.ip.is_unspecified() || other.ip.is_unspecified();
        let address = self.ip == other.ip || (every && self.ip.is_ipv4() == other.ip.is_ipv4());
        address && (self.port, self.proto) == (other.port, other.proto)
    }
}

/// Where the API server listens in the namespace.
pub const API_PORT: NonZeroU16 = NonZeroU16::new(6443).unwrap();

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}:", self.port)?,
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}:", self.port)?,
        }
        if let Some(ip) = self.child_ip {
            write!(f, "{ip}:")?;
        }
        write!(f, "{}/{}", self.child_port, self.proto.as_str())
    }
}

impl FromStr for PortSpec {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |found: String| {
            Error::new(Kind::Input, format!("bad published port `{text}`"))
                .expected("`IP:PORT:CHILDPORT/PROTO`, for example `127.0.0.1:6443:6443/tcp`")
                .found(found)
        };
        let (rest, proto) = text
            .rsplit_once('/')
            .ok_or_else(|| wrong("no `/tcp` or `/udp` at the end".to_owned()))?;
        // An IPv6 address is in brackets, so that its colons separate nothing.
        let bracketed = rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]:"));
        let (ip, rest) = if let Some((ip, rest)) = bracketed {
            (ip.parse().ok().map(IpAddr::V6).ok_or(ip), rest)
        } else {
            let (ip, rest) = rest.split_once(':').unwrap_or((rest, ""));
            (ip.parse().ok().map(IpAddr::V4).ok_or(ip), rest)
        };
        let address = |part: &str| {
            let ip: std::result::Result<Ipv4Addr, _> = part.parse();
            ip.map_err(|_| wrong(format!("`{part}`, which is not an IPv4 address")))
        };
        let port = |part: &str| {
            let digits = part.bytes().all(|c| c.is_ascii_digit());
            let number: Option<NonZeroU16> = part.parse().ok().filter(|_| digits);
            number.ok_or_else(|| wrong(format!("`{part}`, which is not a port from 1 to 65535")))
        };
        let (host, child_ip, child) = match *rest.split(':').collect::<Vec<_>>() {
            [host, child] => (host, None, child),
            [host, child_ip, child] => (host, Some(child_ip), child),
            // The address is a part, too.
            ref parts => {
                return Err(wrong(format!(
                    "{} parts separated by `:`",
                    1 + parts.iter().filter(|p| !p.is_empty()).count()
                )));
            }
        };
        let ip = ip.map_err(|part| wrong(format!("`{part}`, which is not an IP address")))?;
        let proto = match (proto, ip) {
            ("tcp", _) | ("tcp4", IpAddr::V4(_)) | ("tcp6", IpAddr::V6(_)) => Proto::Tcp,
            ("udp", _) | ("udp4", IpAddr::V4(_)) | ("udp6", IpAddr::V6(_)) => Proto::Udp,
            _ => return Err(wrong(format!("the protocol `{proto}`"))),
        };
        Ok(Self {
            ip,
            port: port(host)?,
            child_ip: child_ip.map(address).transpose()?,
            child_port: port(child)?,
            proto,
        })
    }
}

impl TryFrom<String> for PortSpec {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_port_spec() -> impl Strategy<Value = PortSpec> {
        let ip = || any::<u32>().prop_map(Ipv4Addr::from);
        let either = prop_oneof![
            ip().prop_map(IpAddr::from),
            any::<u128>().prop_map(|ip| std::net::Ipv6Addr::from(ip).into()),
        ];
        let port = || any::<NonZeroU16>();
        let proto = prop_oneof![Just(Proto::Tcp), Just(Proto::Udp)];
        (either, port(), proptest::option::of(ip()), port(), proto).prop_map(
            |(ip, port, child_ip, child_port, proto)| PortSpec {
                ip,
                port,
                child_ip,
                child_port,
                proto,
            },
        )
    }

    #[test]
    fn the_api_servers() {
        assert_eq!(PortSpec::API.to_string(), "127.0.0.1:6443:6443/tcp");
    }

    #[test]
    fn what_rootlesskit_is_told() {
        let node_ip = Ipv4Addr::new(10, 0, 42, 100);
        for (port, told) in [
            (
                "127.0.0.1:6443:6443/tcp",
                "127.0.0.1:6443:10.0.42.100:6443/tcp4",
            ),
            (
                "192.0.2.8:53:5353/udp",
                "192.0.2.8:53:10.0.42.100:5353/udp4",
            ),
            ("0.0.0.0:80:80/tcp4", "0.0.0.0:80:10.0.42.100:80/tcp4"),
            (
                "0.0.0.0:80:127.0.0.1:80/tcp",
                "0.0.0.0:80:127.0.0.1:80/tcp4",
            ),
            ("[::]:80:80/tcp", "[::]:80:10.0.42.100:80/tcp6"),
            (
                "[2001:db8::7]:53:127.0.0.1:53/udp6",
                "[2001:db8::7]:53:127.0.0.1:53/udp6",
            ),
        ] {
            let port: PortSpec = port.parse().unwrap();
            assert_eq!(port.for_rootlesskit(node_ip), told);
            // RootlessKit's form is read as the same port.
            assert!(port.is_same_way(&told.parse().unwrap(), node_ip));
        }
        let same = |a: &str, b: &str| {
            let port = |text: &str| text.parse::<PortSpec>().unwrap();
            port(a).is_same_way(&port(b), node_ip)
        };
        assert!(!same("0.0.0.0:80:80/tcp", "0.0.0.0:80:127.0.0.1:80/tcp"));
        assert!(!same("0.0.0.0:80:80/tcp", "0.0.0.0:80:80/udp"));
    }

    #[test]
    fn what_is_refused_and_how() {
        let refused: Vec<_> = [
            "6443",
            "127.0.0.1:6443:6443",
            "127.0.0.1:6443/tcp",
            "127.0.0.1:6443:6443/sctp",
            "localhost:6443:6443/tcp",
            "127.0.0.1:0:6443/tcp",
            "127.0.0.1:+1:6443/tcp",
            "127.0.0.1:6443:65536/tcp",
            "127.0.0.1:1:host:2/tcp",
            "0.0.0.0:80:80/tcp6",
            "[::]:80:80/tcp4",
            ":::80:80/tcp",
            "[::]:80:[::1]:80/tcp",
        ]
        .map(|text| {
            let error = text.parse::<PortSpec>().unwrap_err().to_string();
            let found = error.lines().last().unwrap().trim();
            format!("{text}: {found}")
        })
        .into();
        insta::assert_snapshot!(refused.join("\n"), @r"
        6443: found     no `/tcp` or `/udp` at the end
        127.0.0.1:6443:6443: found     no `/tcp` or `/udp` at the end
        127.0.0.1:6443/tcp: found     2 parts separated by `:`
        127.0.0.1:6443:6443/sctp: found     the protocol `sctp`
        localhost:6443:6443/tcp: found     `localhost`, which is not an IP address
        127.0.0.1:0:6443/tcp: found     `0`, which is not a port from 1 to 65535
        127.0.0.1:+1:6443/tcp: found     `+1`, which is not a port from 1 to 65535
        127.0.0.1:6443:65536/tcp: found     `65536`, which is not a port from 1 to 65535
        127.0.0.1:1:host:2/tcp: found     `host`, which is not an IPv4 address
        0.0.0.0:80:80/tcp6: found     the protocol `tcp6`
        [::]:80:80/tcp4: found     the protocol `tcp4`
        :::80:80/tcp: found     3 parts separated by `:`
        [::]:80:[::1]:80/tcp: found     5 parts separated by `:`
        ");
    }

    #[test]
    fn collisions() {
        let port = |text: &str| text.parse::<PortSpec>().unwrap();
        let api = PortSpec::API;
        assert!(api.collides_with(&port("0.0.0.0:6443:80/tcp")));
        assert!(!api.collides_with(&port("0.0.0.0:6443:6443/udp")));
        assert!(!api.collides_with(&port("192.0.2.1:6443:6443/tcp")));
        assert!(!port("0.0.0.0:80:80/tcp").collides_with(&port("[::]:80:80/tcp")));
        assert!(port("[::1]:80:80/tcp").collides_with(&port("[::]:80:81/tcp")));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(spec in any_port_spec()) {
            prop_assert_eq!(spec.to_string().parse::<PortSpec>().unwrap(), spec);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = text.parse::<PortSpec>();
        }
    }
}
