//! One file's content, compressed.

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, ErrorCode};

use crate::error::{Error, Kind, Result};
use crate::memory;

/// Compression levels a frame may be made with.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

/// The level of a release.
pub const RELEASE_LEVEL: i32 = 19;

/// No file in a bundle is larger than this many bytes.
pub const MAX_SIZE: u64 = 4 << 30;

/// The window never exceeds 2 to this power bytes: what a decoder needs at most, were it to stream.
const MAX_WINDOW_LOG: u32 = 28;

/// The library's error when it gets no memory: `ZSTD_error_memory_allocation` of `zstd_errors.h`, as its functions
/// return errors.
const NO_MEMORY: ErrorCode = ErrorCode::MAX - 63;

/// Names everything besides content, prefix and level that decides a frame's bytes: caches of frames key on it.
#[must_use]
pub fn encoder_id() -> String {
    format!("zstd-{}+ldm+w{MAX_WINDOW_LOG}", zstd_safe::version_string())
}

/// Compresses a file's content into one frame that carries its size and a checksum.
///
/// With a prefix, matches are also taken from there, and the frame can only be decoded with the same prefix.
/// The same arguments give the same bytes on every machine: one thread, and parameters that depend on nothing else. All of
/// the content is given at once: in pieces, which would allow for progress reports, it would become other bytes.
pub fn compress(content: &[u8], prefix: Option<&[u8]>, level: i32) -> Result<Vec<u8>> {
    let bound = zstd_safe::compress_bound(content.len());
    let mut frame = memory::reserved(bound as u64)?;
    let mut encode = || -> Result<usize, ErrorCode> {
        let reach = content.len() + prefix.map_or(0, <[u8]>::len);
        let window_log = reach
            .max(1024)
            .next_power_of_two()
            .ilog2()
            .min(MAX_WINDOW_LOG);
        let mut context = CCtx::try_create().ok_or(NO_MEMORY)?;
        context.set_parameter(CParameter::CompressionLevel(level))?;
        context.set_parameter(CParameter::WindowLog(window_log))?;
        context.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        context.set_parameter(CParameter::ContentSizeFlag(true))?;
        context.set_parameter(CParameter::ChecksumFlag(true))?;
        if let Some(prefix) = prefix {
            context.ref_prefix(prefix)?;
        }
        context.compress2(&mut frame, content)
    };
    match encode() {
        Ok(_) => {
            frame.shrink_to_fit();
            Ok(frame)
        }
        Err(NO_MEMORY) => {
            Err(memory::lacking(bound as u64)
                .about(format!("cannot compress {} bytes", content.len())))
        }
        Err(code) => Err(Error::new(
            Kind::Failed,
            format!(
                "cannot compress {} bytes: {}",
                content.len(),
                zstd_safe::get_error_name(code)
            ),
        )),
    }
}

/// Decodes a frame whose content is exactly `size` bytes long.
///
/// The result is not yet verified against a digest.
pub fn decompress(frame: &[u8], prefix: Option<&[u8]>, size: u64) -> Result<Vec<u8>> {
    if size > MAX_SIZE {
        return Err(memory::lacking(size));
    }
    let mut content = memory::reserved(size.max(1))?;
    let mut context = DCtx::try_create().ok_or_else(|| memory::lacking(size))?;
    let mut decode = || {
        if let Some(prefix) = prefix {
            context.ref_prefix(prefix)?;
        }
        context.decompress(&mut content, frame)
    };
    match decode() {
        Ok(_) if content.len() as u64 == size => Ok(content),
        Ok(_) => Err(Error::new(
            Kind::Integrity,
            "a frame's content does not have the length that the manifest says",
        )
        .expected(format!("{size} bytes"))
        .found(format!("{} bytes", content.len()))),
        Err(NO_MEMORY) => Err(memory::lacking(size)),
        Err(code) => Err(Error::new(
            Kind::Integrity,
            format!(
                "a frame cannot be decoded: {}",
                zstd_safe::get_error_name(code)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    /// Data with some structure, the same on every machine.
    fn sample(len: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        (0..len)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 7 < 3 {
                    u8::try_from(i / 11 % 251).unwrap()
                } else {
                    (state >> 24) as u8 & 0x3f
                }
            })
            .collect()
    }

    #[test]
    fn round_trip_with_and_without_prefix() {
        let hub = sample(200_000, 1);
        let mut sibling = hub.clone();
        sibling.splice(50_000..50_100, sample(300, 2));
        for content in [&b""[..], b"x", &hub] {
            let frame = compress(content, None, 3).unwrap();
            assert_eq!(
                decompress(&frame, None, content.len() as u64).unwrap(),
                content
            );
        }
        let alone = compress(&sibling, None, 3).unwrap();
        let frame = compress(&sibling, Some(&hub), 3).unwrap();
        assert!(
            frame.len() * 10 < alone.len(),
            "{} {}",
            frame.len(),
            alone.len()
        );
        assert_eq!(
            decompress(&frame, Some(&hub), sibling.len() as u64).unwrap(),
            sibling
        );
        assert!(decompress(&frame, None, sibling.len() as u64).is_err());
        assert!(decompress(&frame, Some(&hub[1..]), sibling.len() as u64).is_err());
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let frame = compress(b"hello", None, 3).unwrap();
        assert!(decompress(&frame, None, 4).is_err());
        assert!(
            decompress(&frame, None, 6)
                .unwrap_err()
                .to_string()
                .contains("6 bytes")
        );
        assert_eq!(
            decompress(&frame, None, u64::MAX).unwrap_err().kind(),
            Kind::Host
        );
    }

    /// Fails when a change of library or parameters changes the bytes of every bundle: then bump the release.
    #[test]
    fn bytes_are_frozen() {
        let hub = sample(100_000, 1);
        let digests = [3, 19].map(|level| {
            let alone = compress(&hub, None, level).unwrap();
            let coded = compress(&sample(100_000, 2), Some(&hub), level).unwrap();
            format!(
                "{level} {} {}",
                Sha256::of(&alone).short(16),
                Sha256::of(&coded).short(16)
            )
        });
        assert_eq!(
            digests,
            [
                "3 6fcd9eb7c27e7d31 89e18f8a84925bba",
                "19 4194ce276901daf9 32ce11c2470a5fd4"
            ]
        );
        // Larger than a block, which is where encoders begin to differ.
        let large = sample(1_500_000, 3);
        let digests = [3, 19].map(|level| {
            let coded = compress(&large, Some(&hub), level).unwrap();
            format!("{level} {}", Sha256::of(&coded).short(16))
        });
        assert_eq!(digests, ["3 9cdfda450a544dd7", "19 cc3613079812381a"]);
    }
}
