//! Digests: [`Sha256`] names everything that is stored or packed, [`Digest`] is what upstreams publish of a download.

mod published;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::{Error, Kind};

pub use published::{Digest, DigestHasher};

/// A SHA-256 digest. Written as 64 lower-case hexadecimal digits, and only read in that form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Digest of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Digest of everything a reader gives, and how many bytes that was.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::new(io::sink());
        let size = io::copy(&mut reader, &mut hasher)?;
        Ok((hasher.finish().1, size))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From the 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first `digits` hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self, digits: usize) -> String {
        let mut hex = self.to_string();
        hex.truncate(digits);
        hex
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Sha256 {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        decode_hex(text).map(Self).ok_or_else(|| {
            Error::new(Kind::Input, format!("`{text}` is not a SHA-256 digest"))
                .expected("64 lower-case hexadecimal digits")
                .found(format!("{} characters", text.chars().count()))
        })
    }
}

/// Writes bytes as lower-case hexadecimal digits.
fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Decodes exactly `N` bytes of lower-case hexadecimal digits.
#[must_use]
pub(crate) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A writer that passes everything on and keeps the digest of what it passed.
#[derive(Debug)]
pub struct Hasher<W> {
    inner: W,
    sha: sha2::Sha256,
}

impl<W: Write> Hasher<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            sha: sha2::Sha256::new(),
        }
    }

    /// The wrapped writer and the digest of all that went through.
    pub fn finish(self) -> (W, Sha256) {
        (self.inner, Sha256(self.sha.finalize().into()))
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_answer() {
        assert_eq!(Sha256::of(b"abc").to_string(), ABC);
        assert_eq!(
            Sha256::of_reader(&b"abc"[..]).unwrap(),
            (ABC.parse().unwrap(), 3)
        );
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        assert!(ABC.parse::<Sha256>().is_ok());
        for bad in [
            &ABC[1..],
            &ABC.to_uppercase(),
            &format!("{ABC}0"),
            "",
            &"é".repeat(32),
        ] {
            let error = bad.parse::<Sha256>().unwrap_err().to_string();
            assert!(
                error.contains("64 lower-case hexadecimal digits"),
                "{error}"
            );
        }
    }
}
