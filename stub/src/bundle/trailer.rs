//! The fixed-size end of a bundle, by which everything else in it is found.
//!
//! All numbers are little endian. Layout, in bytes from the trailer's start:
//!
//! | at | field |
//! |---|---|
//! | 0 | magic, `U7SBUNDL` |
//! | 8 | format version: u32, [`FORMAT`] |
//! | 12 | flags: u32, must be zero |
//! | 16 | length of the whole file: u64 |
//! | 24 | length of the stub: u64 |
//! | 32 | offset of the payload: u64 |
//! | 40 | offset of the manifest: u64 |
//! | 48 | length of the manifest: u64 |
//! | 56 | SHA-256 of the manifest: 32 bytes |
//! | 88 | reserved: 8 bytes, must be zero |

use super::ALIGNMENT;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

/// The first bytes of every trailer, whatever its format version.
pub const MAGIC: [u8; 8] = *b"U7SBUNDL";

/// The format this program writes and reads.
pub const FORMAT: u32 = 1;

/// Length of the trailer in bytes.
pub const LEN: usize = 96;

/// No manifest is longer than this many bytes, so that a damaged length cannot exhaust memory.
pub const MAX_MANIFEST_LEN: u64 = 64 << 20;

/// Where the parts of a bundle lie. Offsets and lengths are in bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Length of the whole file.
    pub file_len: u64,
    /// Length of the stub at the file's start.
    pub stub_len: u64,
    /// Where the first frame begins.
    pub payload_offset: u64,
    /// Where the manifest begins, which is where the last frame ends.
    pub manifest_offset: u64,
    /// Length of the manifest.
    pub manifest_len: u64,
    /// Digest of the manifest: the bundle id.
    pub manifest_sha256: Sha256,
}

impl Trailer {
    /// The trailer of a file with these parts.
    #[must_use]
    pub fn new(
        stub_len: u64,
        payload_len: u64,
        manifest_len: u64,
        manifest_sha256: Sha256,
    ) -> Self {
        let payload_offset = stub_len.next_multiple_of(ALIGNMENT);
        let manifest_offset = payload_offset + payload_len;
        Self {
            file_len: manifest_offset + manifest_len + LEN as u64,
            stub_len,
            payload_offset,
            manifest_offset,
            manifest_len,
            manifest_sha256,
        }
    }

    /// The bytes at the end of the file.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        let numbers = [
            self.file_len,
            self.stub_len,
            self.payload_offset,
            self.manifest_offset,
            self.manifest_len,
        ];
        for (field, number) in bytes[16..56].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..88].copy_from_slice(self.manifest_sha256.as_bytes());
        bytes
    }

    /// Reads the last [`LEN`] bytes of a file that is `file_len` bytes long.
    ///
    /// `None` when they do not begin with [`MAGIC`]: then the file is no bundle, or has lost or gained bytes at its end.
    pub fn decode(bytes: &[u8; LEN], file_len: u64) -> Result<Option<Self>> {
        if bytes[..8] != MAGIC {
            return Ok(None);
        }
        let u32_at = |at: usize| u32::from_le_bytes(array(&bytes[at..at + 4]));
        let u64_at = |at: usize| u64::from_le_bytes(array(&bytes[at..at + 8]));
        let format = u32_at(8);
        if format > FORMAT {
            return Err(Error::new(
                Kind::Input,
                "the bundle has a newer format than this program knows",
            )
            .expected(format!("format {FORMAT} or older"))
            .found(format!("format {format}"))
            .hint("run the bundle itself, or use the `builder` and `usernetes` of its release"));
        }
        let trailer = Self {
            file_len: u64_at(16),
            stub_len: u64_at(24),
            payload_offset: u64_at(32),
            manifest_offset: u64_at(40),
            manifest_len: u64_at(48),
            manifest_sha256: Sha256::from_bytes(array(&bytes[56..88])),
        };
        if trailer.file_len != file_len {
            return Err(damaged("the bundle's length is not the one in its trailer")
                .expected(format!("{} bytes", trailer.file_len))
                .found(format!("{file_len} bytes")));
        }
        let consistent = format == FORMAT
            && bytes[12..16] == [0; 4]
            && bytes[88..] == [0; 8]
            && trailer.manifest_len <= MAX_MANIFEST_LEN
            && trailer.stub_len.checked_next_multiple_of(ALIGNMENT) == Some(trailer.payload_offset)
            && trailer.payload_offset <= trailer.manifest_offset
            && trailer
                .manifest_offset
                .checked_add(trailer.manifest_len)
                .and_then(|end| end.checked_add(LEN as u64))
                == Some(file_len);
        if !consistent {
            return Err(damaged(
                "the bundle's trailer is damaged: its fields contradict each other",
            ));
        }
        Ok(Some(trailer))
    }
}

/// The next step when a bundle is damaged.
pub(super) const DAMAGED_HINT: &str = "the file is damaged or was changed: download it again and compare its SHA-256 with the release's SHA256SUMS";

/// An integrity error with the next step that fits a damaged download.
pub(super) fn damaged(message: impl Into<String>) -> Error {
    Error::new(Kind::Integrity, message).hint(DAMAGED_HINT)
}

fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(slice);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Trailer {
        Trailer::new(5000, 100, 50, Sha256::of(b"manifest"))
    }

    /// The layout is a promise to every bundle already out there: change it only together with `FORMAT`.
    #[test]
    fn layout_is_frozen() {
        let bytes = example().encode();
        assert_eq!(&bytes[..16], b"U7SBUNDL\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], (8192u64 + 100 + 50 + 96).to_le_bytes());
        assert_eq!(bytes[24..32], 5000u64.to_le_bytes());
        assert_eq!(bytes[32..40], 8192u64.to_le_bytes());
        assert_eq!(bytes[40..48], 8292u64.to_le_bytes());
        assert_eq!(bytes[48..56], 50u64.to_le_bytes());
        assert_eq!(bytes[56..88], *Sha256::of(b"manifest").as_bytes());
        assert_eq!(bytes[88..], [0; 8]);
    }

    #[test]
    fn any_changed_byte_is_refused_or_left_to_the_manifest() {
        let trailer = example();
        let good = trailer.encode();
        assert_eq!(
            Trailer::decode(&good, trailer.file_len).unwrap(),
            Some(trailer.clone())
        );
        for at in 0..LEN {
            let mut bytes = good;
            bytes[at] ^= 0x10;
            match Trailer::decode(&bytes, trailer.file_len) {
                Err(error) => assert!((8..56).contains(&at) || at >= 88, "byte {at}: {error}"),
                Ok(None) => assert!(at < 8, "byte {at}"),
                Ok(Some(read)) => {
                    // The reader compares these two with the manifest's digest and the stub's size in it.
                    assert!(
                        (56..88).contains(&at) || (24..32).contains(&at),
                        "byte {at}"
                    );
                    assert_ne!(
                        (read.manifest_sha256, read.stub_len),
                        (trailer.manifest_sha256, trailer.stub_len)
                    );
                }
            }
        }
    }

    #[test]
    fn newer_format_says_what_to_do() {
        let mut bytes = example().encode();
        bytes[8] = 2;
        let error = Trailer::decode(&bytes, example().file_len).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        insta::assert_snapshot!(error.to_string(), @r"
        the bundle has a newer format than this program knows
          expected  format 1 or older
          found     format 2

        hint: run the bundle itself, or use the `builder` and `usernetes` of its release
        ");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, LEN), len: u64) {
            let mut bytes: [u8; LEN] = bytes.try_into().unwrap();
            let _ = Trailer::decode(&bytes, len);
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
            bytes[16..24].copy_from_slice(&len.to_le_bytes());
            let _ = Trailer::decode(&bytes, len);
        }
    }
}
