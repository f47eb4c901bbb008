//! One file's content, compressed.

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer};

use crate::error::{Error, Kind, Result};
use crate::memory;

/// Compression levels a frame may be made with.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

/// The level of a release. Measured on the full set: 22 takes a quarter more time than 19 and makes 1.4 % fewer bytes. A release is
/// built once, and downloaded often.
pub const RELEASE_LEVEL: i32 = 22;

/// No file in a bundle is larger than this many bytes.
pub const MAX_SIZE: u64 = 4 << 30;

/// The window never exceeds 2 to this power bytes: what a decoder needs at most, were it to stream.
const MAX_WINDOW_LOG: u32 = 28;

/// A content is given away in pieces of about this many bytes. Two of them fit into a core's own cache, and a file is written
/// in few calls.
pub(super) const PIECE: usize = 512 << 10;

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

/// Decodes one frame, piece by piece, so that a caller can hash and write each piece while it is in the processor's cache.
///
/// Nothing is verified, neither the content against a digest, nor the frame's checksum: the caller compares a digest.
pub struct Decoder<'a> {
    context: DCtx<'a>,
    frame: &'a [u8],
    content: &'a mut [u8],
    /// How many bytes of the frame have been read.
    read: usize,
    /// How many bytes of the content have been decoded.
    decoded: usize,
    /// How many bytes the library wants to be given next: it takes that many without copying them first. None at the frame's end.
    wanted: usize,
}

impl<'a> Decoder<'a> {
    /// Begins with a frame, whose content must be exactly as long as the buffer for it.
    pub fn new(frame: &'a [u8], prefix: Option<&'a [u8]>, content: &'a mut [u8]) -> Result<Self> {
        let begin = || -> Result<DCtx<'a>, ErrorCode> {
            let mut context = DCtx::try_create().ok_or(NO_MEMORY)?;
            context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
            // Blocks are decoded to their final place, so there is no window besides that.
            context.set_parameter(DParameter::StableOutBuffer(true))?;
            // A digest of the content says more.
            context.set_parameter(DParameter::ForceIgnoreChecksum(true))?;
            if let Some(prefix) = prefix {
                context.ref_prefix(prefix)?;
            }
            Ok(context)
        };
        Ok(Self {
            context: begin().map_err(|code| failed(code, content.len()))?,
            frame,
            content,
            read: 0,
            decoded: 0,
            wanted: DCtx::in_size(),
        })
    }

    /// The next piece of the content, or `None` after the last one. Fails if the frame or its content ends too early or too late.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let begin = self.decoded;
        while self.decoded - begin < PIECE && self.read < self.frame.len() && self.wanted > 0 {
            self.step()
                .map_err(|code| failed(code, self.content.len()))?;
        }
        if begin < self.decoded {
            return Ok(Some(&self.content[begin..self.decoded]));
        }
        if self.read < self.frame.len() || self.wanted > 0 {
            return Err(Error::new(
                Kind::Integrity,
                "a frame cannot be decoded: its end is not where it should be",
            ));
        }
        if self.decoded == self.content.len() {
            return Ok(None);
        }
        Err(Error::new(
            Kind::Integrity,
            "a frame's content does not have the length that the manifest says",
        )
        .expected(format!("{} bytes", self.content.len()))
        .found(format!("{} bytes", self.decoded)))
    }

    /// Decodes about one block.
    fn step(&mut self) -> Result<(), ErrorCode> {
        let rest = &self.frame[self.read..];
        let mut input = InBuffer::around(&rest[..rest.len().min(self.wanted)]);
        let mut output = OutBuffer::around_pos(&mut *self.content, self.decoded);
        self.wanted = self.context.decompress_stream(&mut output, &mut input)?;
        self.decoded = output.pos();
        self.read += input.pos();
        Ok(())
    }
}

fn failed(code: ErrorCode, size: usize) -> Error {
    if code == NO_MEMORY {
        return memory::lacking(size as u64);
    }
    let name = zstd_safe::get_error_name(code);
    let message = format!("a frame cannot be decoded: {name}");
    Error::new(Kind::Integrity, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn decompress(frame: &[u8], prefix: Option<&[u8]>, size: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![1; size];
        let mut decoder = Decoder::new(frame, prefix, &mut buffer)?;
        let mut content = Vec::new();
        while let Some(piece) = decoder.next_piece()? {
            assert!((1..2 * PIECE).contains(&piece.len()));
            content.extend_from_slice(piece);
        }
        drop(decoder);
        assert!(content == buffer);
        Ok(content)
    }

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
            assert_eq!(decompress(&frame, None, content.len()).unwrap(), content);
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
            decompress(&frame, Some(&hub), sibling.len()).unwrap(),
            sibling
        );
        assert!(decompress(&frame, None, sibling.len()).is_err());
        assert!(decompress(&frame, Some(&hub[1..]), sibling.len()).is_err());
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
    }

    #[test]
    fn a_large_content_is_given_in_pieces() {
        let hub = sample(3 << 20, 1);
        let mut sibling = hub.clone();
        sibling.splice(50_000..50_100, sample(1 << 20, 2));
        for prefix in [None, Some(&hub[..])] {
            let frame = compress(&sibling, prefix, 3).unwrap();
            let mut content = vec![0; sibling.len()];
            let mut decoder = Decoder::new(&frame, prefix, &mut content).unwrap();
            let first = decoder.next_piece().unwrap().unwrap();
            assert_eq!(*first, sibling[..first.len()]);
            assert!(first.len() < sibling.len() / 2);
            assert!(decompress(&frame, prefix, sibling.len()).unwrap() == sibling);
        }
    }

    #[test]
    fn frames_that_end_too_early_or_too_late_are_refused() {
        for len in [0, 1, 700_000] {
            let content = sample(len, 1);
            let frame = compress(&content, None, 3).unwrap();
            for end in [0, 1, 5, frame.len() / 2, frame.len() - 1] {
                assert!(decompress(&frame[..end], None, len).is_err(), "{len} {end}");
            }
            for more in [&[0][..], &frame] {
                let longer = [&frame, more].concat();
                assert!(decompress(&longer, None, len).is_err(), "{len}");
            }
        }
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
