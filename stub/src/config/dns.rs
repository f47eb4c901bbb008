//! Names of nodes and domains.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// A node's or a domain's name: lower-case labels of letters, digits and `-`, joined by dots, at most 63 characters
/// in all, because Kubernetes makes a label of the node's name. The last label is not a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct DnsName(String);

/// How many characters Kubernetes takes for the name of a node.
const LONGEST: usize = 63;

impl DnsName {
    /// Checks the name.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let fault = match text.chars().find(char::is_ascii_uppercase) {
            Some(letter) => Some(format!("the capital letter `{letter}`")),
            None => host_name_fault(&text, LONGEST),
        };
        match fault {
            None => Ok(Self(text)),
            Some(fault) => Err(Error::new(Kind::Input, format!("bad name {text:?}"))
                .expected("at most 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit")
                .found(fault)),
        }
    }

    /// The name that the machine with this host name gets in its cluster: capitals become small letters, every other
    /// character that a name cannot have becomes `-`, labels lose the `-` at their ends, empty labels are left out, and
    /// the name is cut off after 63 characters. A name whose last label is a number gets `node-` in front. A machine whose
    /// name is not set (`(none)`) or is only `localhost` becomes `node`.
    #[must_use]
    pub fn derive(host_name: &str) -> Self {
        let host_name = host_name.to_ascii_lowercase();
        let fitting = |c: char| {
            let fits = c.is_ascii_alphanumeric() || c == '.';
            if fits { c } else { '-' }
        };
        let text: String = host_name.chars().map(fitting).collect();
        let labels = |text: &str| {
            let labels = text.split('.').map(|label| label.trim_matches('-'));
            let labels: Vec<_> = labels.filter(|label| !label.is_empty()).collect();
            labels.join(".")
        };
        let mut text = labels(&text);
        let last = text.rsplit('.').next().unwrap_or_default();
        if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
            text = format!("node-{}", text.replace('.', "-"));
        }
        // Only ASCII is left, so no character is cut in two.
        text.truncate(LONGEST);
        let named = !matches!(host_name.as_str(), "" | "(none)") && !text.starts_with("localhost");
        let name = Self::new(labels(&text)).ok().filter(|_| named);
        name.unwrap_or_else(|| Self("node".to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a host name (RFC 1123, section 2.1) of at most `longest` bytes; `None` if it is one. The last label
/// must not be a number, or a mistyped address would pass for a name.
pub(crate) fn host_name_fault(text: &str, longest: usize) -> Option<String> {
    if text.is_empty() || text.len() > longest {
        return Some(format!("{} bytes", text.len()));
    }
    let label_fault = |label: &str| {
        if label.is_empty() {
            return Some("an empty label".to_owned());
        }
        if label.len() > 63 {
            return Some(format!("a label of {} bytes", label.len()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Some(format!("the label `{label}`"));
        }
        let strange = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-');
        let character = label.chars().find(strange)?;
        Some(format!("the character `{}`", character.escape_debug()))
    };
    text.split('.').find_map(label_fault).or_else(|| {
        let last = text.rsplit('.').next()?;
        let number = last.bytes().all(|b| b.is_ascii_digit());
        number.then(|| "a number as the last label".to_owned())
    })
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
    use proptest::prelude::*;

    #[test]
    fn good_and_bad_names() {
        for good in ["a", "node-1", "cluster.local", "1.b", &"x".repeat(63)] {
            assert!(DnsName::new(good).is_ok(), "{good}");
        }
        for (bad, found) in [
            ("", "0 bytes"),
            ("A", "the capital letter `A`"),
            ("-a", "the label `-a`"),
            ("a-", "the label `a-`"),
            ("a..b", "an empty label"),
            (".a", "an empty label"),
            ("a.", "an empty label"),
            ("a_b", "the character `_`"),
            ("a b", "the character ` `"),
            ("ä", "the character `ä`"),
            ("a\"", "the character `\\\"`"),
            (&"x".repeat(64), "64 bytes"),
            ("42", "a number as the last label"),
            ("node.7", "a number as the last label"),
        ] {
            let error = DnsName::new(bad).unwrap_err().to_string();
            assert!(error.ends_with(&format!("found     {found}")), "{error}");
        }
    }

    #[test]
    fn every_machine_gets_a_name() {
        let long = format!("{}-b.example", "a".repeat(62));
        for (host_name, name) in [
            ("node-1", "node-1"),
            ("host.example.org", "host.example.org"),
            ("My_Laptop", "my-laptop"),
            ("Anna's Mac", "anna-s-mac"),
            ("büro", "b-ro"),
            ("host.", "host"),
            ("..a..b-.-c", "a.b.c"),
            (&"x".repeat(64), &"x".repeat(63)),
            (&long, &"a".repeat(62)),
            ("192.0.2.7", "node-192-0-2-7"),
            ("node.7", "node-node-7"),
            ("42", "node-42"),
            ("(none)", "node"),
            ("", "node"),
            ("___", "node"),
            ("localhost", "node"),
            ("localhost.localdomain", "node"),
            ("Localhost4", "node"),
        ] {
            assert_eq!(DnsName::derive(host_name).as_str(), name, "{host_name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_derived_is_a_name(host_name in ".{0,80}", plain in "[a-zA-Z0-9._-]{0,80}") {
            for text in [host_name, plain] {
                let name = DnsName::derive(&text);
                prop_assert_eq!(DnsName::new(name.as_str()).unwrap(), name);
            }
        }
    }
}
