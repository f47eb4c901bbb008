//! Names that are safe by construction: a value of one of these types can be joined to a directory and stays inside.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Declares a validated string type: constructed only through its check, ordered and serialised as its text.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

checked_text! {
    /// The path of a file inside a component, or the target of a link: relative, UTF-8, without `.` and `..`, with
    /// nothing in it that a shell, a terminal or a program's option parser would stumble over.
    BundlePath, check_path
}

checked_text! {
    /// The name of a component: lower-case letters, digits, `-` and `.`, at most 64 of them, beginning with a letter or digit.
    Name, check_name
}

checked_text! {
    /// The version of a component as upstream writes it: at most 64 letters, digits and `.+~_-`, beginning with a letter or digit.
    Version, check_version
}

impl BundlePath {
    /// As a path to join to a directory.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The parts between the slashes. There is at least one.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path up to the last slash, if there is one.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

fn check_path(text: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(
            Error::new(Kind::Input, format!("unsafe path {text:?}: {why}"))
                .expected("a relative path of plain names, such as `bin/etcd`"),
        )
    };
    if text.is_empty() {
        return wrong("it is empty");
    }
    if text.starts_with('/') {
        return wrong("it is absolute");
    }
    if text.len() > 1024 {
        return wrong("it is longer than 1024 bytes");
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return wrong("it contains a control character or a backslash");
    }
    for segment in text.split('/') {
        match segment {
            "" => return wrong("it has an empty part"),
            "." | ".." => return wrong("it contains `.` or `..`"),
            s if s.starts_with('-') => return wrong("a part begins with `-`"),
            s if s.len() > 255 => return wrong("a part is longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

fn check_name(text: &str) -> Result<()> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=64).contains(&text.len())
        && text.bytes().all(|c| plain(c) || c == b'-' || c == b'.')
        && text.bytes().next().is_some_and(plain);
    if good {
        return Ok(());
    }
    Err(
        Error::new(Kind::Input, format!("bad component name {text:?}")).expected(
            "at most 64 lower-case letters, digits, `-` and `.`, beginning with a letter or digit",
        ),
    )
}

fn check_version(text: &str) -> Result<()> {
    let good = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b".+~_-".contains(&c))
        && text
            .bytes()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    Err(Error::new(Kind::Input, format!("bad version {text:?}"))
        .expected("at most 64 letters, digits and `.+~_-`, beginning with a letter or digit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths() {
        for good in [
            "bin/etcd",
            "a",
            "libexec/cni/host-local",
            "share/doc/a b",
            "x/…",
            "..a/b..",
            "a/.b",
        ] {
            assert!(BundlePath::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn bad_paths_are_named() {
        let long = "x".repeat(256);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "-rf",
            "a/-x",
            "a\0b",
            "a\nb",
            "a\\b",
            &long,
        ] {
            let error = BundlePath::new(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn names_and_versions() {
        assert!(Name::new("kube-apiserver").is_ok());
        assert!(Version::new("3.5.30-1+b2~deb12u1").is_ok());
        for bad in ["", "Etcd", "-a", "a/b", "a b", ".a"] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "-1", "1:2", "1/2", "..", "v 1"] {
            assert!(Version::new(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_accepted_path_stays_below_the_directory_it_is_joined_to(text in ".{0,40}") {
            if let Ok(path) = BundlePath::new(text) {
                let all_normal = path.as_path().components().all(|c| matches!(c, std::path::Component::Normal(_)));
                proptest::prop_assert!(all_normal);
                proptest::prop_assert_eq!(path.as_path().components().count(), path.segments().count());
            }
        }
    }
}
