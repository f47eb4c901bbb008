//! An IPv4 network, written as `10.0.0.0/24` in the configuration.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// An IPv4 network. It is written with its first address: `10.0.0.7/24` is refused, not rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr(Ipv4Net);

impl Cidr {
    /// The network that begins at `address` and whose members share the first `prefix` bits.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self> {
        format!("{address}/{prefix}").parse()
    }

    /// The network that contains an address, from a text such as `10.5.0.1/24`.
    pub fn around(text: &str) -> Result<Self> {
        Ok(Self(parse(text)?.trunc()))
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.0.addr()
    }

    /// The number of bits that all its addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// The `n`th address after the first; `None` if it is outside the network.
    #[must_use]
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(u32::from(self.address()).checked_add(n)?);
        self.contains(address).then_some(address)
    }

    /// Whether the address belongs to it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }

    /// Whether an address belongs to both networks.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }
}

/// A network with any address in it.
fn parse(text: &str) -> Result<Ipv4Net> {
    text.parse().map_err(|_| {
        bad(text).expected("an IPv4 network such as `10.0.42.0/24`, with a prefix length up to 32")
    })
}

fn bad(found: &str) -> Error {
    Error::new(Kind::Input, format!("bad network `{found}`"))
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for Cidr {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let network = parse(text)?;
        if network.addr() != network.network() {
            return Err(bad(text)
                .expected(format!("`{}`, which begins the network", network.trunc()))
                .found(format!(
                    "`{}`, an address in the middle of it",
                    network.addr()
                )));
        }
        Ok(Self(network))
    }
}

impl TryFrom<String> for Cidr {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn members() {
        let services = cidr("10.0.0.0/24");
        assert_eq!(services.nth(53), Some(Ipv4Addr::new(10, 0, 0, 53)));
        assert_eq!(services.nth(256), None);
        assert_eq!(cidr("0.0.0.0/0").nth(u32::MAX), Some(Ipv4Addr::BROADCAST));
        assert_eq!(cidr("255.255.255.255/32").nth(1), None);
    }

    #[test]
    fn overlaps_is_containment_of_the_smaller_in_the_larger() {
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.88.0.0/16")));
        assert!(cidr("10.88.0.0/16").overlaps(cidr("0.0.0.0/0")));
        assert!(!cidr("10.0.0.0/24").overlaps(cidr("10.0.1.0/24")));
    }

    #[test]
    fn errors_say_what_was_expected() {
        insta::assert_snapshot!(Cidr::from_str("10.0.0.7/24").unwrap_err(), @r"
        bad network `10.0.0.7/24`
          expected  `10.0.0.0/24`, which begins the network
          found     `10.0.0.7`, an address in the middle of it
        ");
        insta::assert_snapshot!(Cidr::from_str("10.0.0.0/33").unwrap_err(), @r"
        bad network `10.0.0.0/33`
          expected  an IPv4 network such as `10.0.42.0/24`, with a prefix length up to 32
        ");
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0/24",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "fd00::/8",
            "10.0.0.0/256",
            " 10.0.0.0/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(address: u32, prefix in 0u8..=32) {
            let network = Cidr(Ipv4Net::new(address.into(), prefix).unwrap().trunc());
            prop_assert_eq!(network.to_string().parse::<Cidr>().unwrap(), network);
            prop_assert!(network.contains(Ipv4Addr::from(address)));
        }

        #[test]
        fn overlap_means_a_common_address(a: u32, p in 8u8..=32, b: u32, q in 8u8..=32) {
            let network = |address: u32, prefix| Cidr(Ipv4Net::new(address.into(), prefix).unwrap().trunc());
            let (a, b) = (network(a, p), network(b, q));
            let range = |c: Cidr| (u64::from(u32::from(c.address())), 1_u64 << (32 - c.prefix()));
            let ((a_first, a_size), (b_first, b_size)) = (range(a), range(b));
            let common = a_first < b_first + b_size && b_first < a_first + a_size;
            prop_assert_eq!(a.overlaps(b), common);
            prop_assert_eq!(b.overlaps(a), common);
        }
    }
}
