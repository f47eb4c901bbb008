//! Whether services of the cluster reach this machine's network by themselves.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// The address of this machine at which services that ask for a port of the node are published; nothing if they are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublishServices(pub Option<Ipv4Addr>);

impl fmt::Display for PublishServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |ip| write!(f, "{ip}"))
    }
}

impl FromStr for PublishServices {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let ip = text.parse().map(|ip| Self(Some(ip)));
        ip.map_err(|_| {
            Error::new(Kind::Input, format!("bad address {text:?} for services"))
                .expected("an IPv4 address of this machine, such as \"0.0.0.0\" for all of them, or \"\" for none")
        })
    }
}

impl TryFrom<String> for PublishServices {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}
