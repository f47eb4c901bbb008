//! The names and addresses that a server's certificate is valid for.

use std::fmt;
use std::net::IpAddr;

use rcgen::SanType;
use x509_parser::extensions::GeneralName;

use crate::config::host_name_fault;
use crate::error::{Error, Kind, Result};

/// A DNS name or an IP address, as a certificate's subject alternative name holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum San {
    Dns(String),
    Ip(IpAddr),
}

impl San {
    /// Parses the text of a person: an address that clients can connect to, or a host name.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Ok(ip) = text.parse::<IpAddr>() else {
            return host_name(text).map(Self::Dns);
        };
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(Error::new(
                Kind::Usage,
                format!("`{text}` cannot be in a certificate, because clients cannot connect to this address"),
            )
            .expected("the address of one host")
            .found(ip)
            .hint("give the address at which clients reach the API server"));
        }
        Ok(Self::Ip(ip))
    }

    /// Converts a name from an existing certificate; `None` for kinds of names that no component of the cluster uses.
    pub(super) fn of(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns(name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| Self::Ip(b.into())),
                16 => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|b| Self::Ip(b.into())),
                _ => None,
            },
            _ => None,
        }
    }

    /// Converts it for a certificate to be issued.
    pub(super) fn to_rcgen(&self) -> Result<SanType> {
        match self {
            Self::Ip(ip) => Ok(SanType::IpAddress(*ip)),
            Self::Dns(name) => match name.as_str().try_into() {
                Ok(name) => Ok(SanType::DnsName(name)),
                Err(_) => Err(not_a_host_name(name, "characters outside ASCII")),
            },
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// Checks a host name and returns it in lower case.
fn host_name(text: &str) -> Result<String> {
    match host_name_fault(text, 253) {
        None => Ok(text.to_ascii_lowercase()),
        Some(fault) => Err(not_a_host_name(text, &fault)),
    }
}

fn not_a_host_name(text: &str, found: &str) -> Error {
    Error::new(
        Kind::Usage,
        format!("`{}` is neither a host name nor an IP address", text.escape_debug()),
    )
    .expected("letters, digits and hyphens in labels of at most 63 bytes, separated by dots, 253 bytes in all")
    .found(found)
    .hint("write it as clients use it, without scheme, port, wildcard or final dot: `k8s.example.org` or `192.0.2.7`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_accepted() {
        for (text, printed) in [
            ("localhost", "localhost"),
            ("K8S.Example.org", "k8s.example.org"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("7up.example", "7up.example"),
        ] {
            assert_eq!(San::parse(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, found) in [
            ("", "0 bytes"),
            ("a..b", "an empty label"),
            ("example.org.", "an empty label"),
            ("*.example.org", "the character `*`"),
            ("https://a", "the character `:`"),
            ("a b", "the character ` `"),
            ("a\nb", "the character `\\n`"),
            ("bücher.example", "the character `ü`"),
            ("-a", "the label `-a`"),
            ("192.0.2.777", "a number as the last label"),
            ("192.0.2.7:6443", "the character `:`"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
        ] {
            let error = San::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            let printed = error.to_string();
            assert!(printed.contains(&format!("found     {found}")), "{printed}");
            assert!(printed.contains("hint: "), "{printed}");
        }
        assert!(host_name(&"a".repeat(64)).is_err());
        assert!(host_name(&["abc."; 80].concat()).is_err());
    }
}
