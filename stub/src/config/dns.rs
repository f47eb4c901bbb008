//! Names of nodes and domains.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// A node's or a domain's name: lower-case labels of letters, digits and `-`, joined by dots, at most 63 characters
/// in all, because Kubernetes makes a label of the node's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct DnsName(String);

impl DnsName {
    /// Checks the name.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let label = |label: &str| {
            let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            let edge = |c: Option<u8>| c.is_some_and(plain);
            edge(label.bytes().next())
                && edge(label.bytes().last())
                && label.bytes().all(|c| plain(c) || c == b'-')
        };
        if text.len() <= 63 && text.split('.').all(label) {
            return Ok(Self(text));
        }
        Err(Error::new(Kind::Input, format!("bad name {text:?}"))
            .expected("at most 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for DnsName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_names() {
        for good in ["a", "node-1", "cluster.local", "1.2", &"x".repeat(63)] {
            assert!(DnsName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a b",
            "ä",
            "a\"",
            &"x".repeat(64),
        ] {
            assert!(DnsName::new(bad).is_err(), "{bad}");
        }
    }
}
