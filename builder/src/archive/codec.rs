//! The compressions archives come in.

use std::io::{BufReader, Read};

use stub::error::Result;

/// A decoder never looks back further than 2 to this power bytes, and so needs no more memory than these 256 MiB and a
/// little. Twice the window of `zstd --ultra -22`, four times that of `xz -9`; `zstd --long=29` and more is refused.
const MAX_WINDOW_LOG: u32 = 28;

/// How a tar archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Codec {
    /// Decodes all members, streams or frames of the input, one after the other. Bytes behind the last are an error.
    pub(super) fn decode<'a>(self, input: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
        let input = BufReader::with_capacity(1 << 17, input);
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Self::Xz => {
                // The extra MiB is for the decoder's other memory.
                let limit_kib = (1 << (MAX_WINDOW_LOG - 10)) + 1024;
                Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, limit_kib))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}
