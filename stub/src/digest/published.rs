//! Digests as upstreams publish them: SHA-256 mostly, SHA-512 here and there.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{Sha256, decode_hex, write_hex};
use crate::error::{Error, Kind, Result};

/// A pinned digest, written `sha256:<64 hex digits>` or `sha512:<128 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Digest {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl Digest {
    /// `sha256` or `sha512`: also the name of the cache's directory for it.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The hexadecimal digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        let text = self.to_string();
        text.split_once(':')
            .map_or_else(String::new, |(_, hex)| hex.to_owned())
    }

    /// A hasher of the same algorithm.
    #[must_use]
    pub fn hasher(&self) -> DigestHasher {
        match self {
            Self::Sha256(_) => DigestHasher::Sha256(sha2::Sha256::new()),
            Self::Sha512(_) => DigestHasher::Sha512(sha2::Sha512::new()),
        }
    }

    /// Digest of bytes in memory, by the same algorithm.
    #[must_use]
    pub fn same_kind_of(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl From<Sha256> for Digest {
    fn from(digest: Sha256) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        match self {
            Self::Sha256(digest) => fmt::Display::fmt(digest, f),
            Self::Sha512(bytes) => write_hex(bytes, f),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once(':') {
            Some(("sha256", hex)) => decode_hex(hex).map(|b| Self::Sha256(Sha256::from_bytes(b))),
            Some(("sha512", hex)) => decode_hex(hex).map(Self::Sha512),
            _ => None,
        };
        parsed.ok_or_else(|| {
            Error::new(Kind::Input, format!("`{text}` is not a digest"))
                .expected("`sha256:` and 64 or `sha512:` and 128 lower-case hexadecimal digits")
                .found(format!("{} characters", text.chars().count()))
        })
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Debug, Clone)]
pub enum DigestHasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl DigestHasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(Sha256::from_bytes(hasher.finalize().into())),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

impl Write for DigestHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_round_trip() {
        // FIPS 180-2, appendices B.1 and C.1.
        let known = [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ];
        for text in known {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.same_kind_of(b"abc"), digest);
        }
    }

    #[test]
    fn a_digest_of_the_wrong_length_is_named() {
        for bad in [
            "sha256:ab",
            "sha512:ab",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "ab",
            "",
        ] {
            let error = bad.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }
}
