//! Unpacking downloads: exactly the files a recipe takes, and nothing else.
//!
//! An archive is streamed once, and each wanted member's content is handed to the caller. No name out of an archive
//! ever becomes a path on disk, only regular files are handed out, and an archive that tries anything is refused.
//! The errors do not know which component they are about: callers add it.

mod codec;
mod deb;
mod layers;
mod meter;
#[cfg(test)]
mod samples;
mod search;
mod tar;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Read;

use stub::error::{Error, Kind, Result};

use crate::recipe::Format;
use codec::Codec;
use search::Search;

pub use layers::{Layer, layers, plain};

/// An archive, or the layers of an image taken together, unpack to at most so many bytes. More would be a bomb.
const MAX_TOTAL: u64 = 16 << 30;

/// Takes a wanted member: its name as it was wanted, its size in bytes, and its content.
///
/// The part of the content that it does not read is skipped. If the archive turns out to be damaged, the content ends in an
/// error, never early.
pub type Each<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<()> + 'a;

/// Streams an archive once and hands over the wanted members, in the archive's order.
///
/// Names are compared as text, the archive's without a leading `./`. After an error, what was handed over before must
/// be thrown away: an archive is known to be good only at its end.
///
/// # Errors
/// A wanted member is missing, there twice, or no regular file; any member has an absolute name or one with `..`;
/// the archive is damaged, truncated, larger than 16 GiB unpacked, or not of this format; or `each` failed.
/// [`Format::Plain`] and the OCI formats are no archives.
pub fn extract(
    format: Format,
    mut input: impl Read,
    wanted: &BTreeSet<String>,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut search = Search::new(wanted);
    let mut unpack = |codec: Codec, input: &mut dyn Read| {
        let mut budget = MAX_TOTAL;
        let mut content = codec.decode(input)?;
        tar::walk(
            &mut *content,
            tar::Names::Relative,
            &mut budget,
            &mut |member| search.offer(member, each),
        )
    };
    match format {
        Format::Tar => unpack(Codec::None, &mut input),
        Format::TarGz => unpack(Codec::Gzip, &mut input),
        Format::TarBz2 => unpack(Codec::Bzip2, &mut input),
        Format::TarXz => unpack(Codec::Xz, &mut input),
        Format::TarZst => unpack(Codec::Zstd, &mut input),
        Format::Deb => deb::data(&mut input, &mut unpack),
        Format::Plain | Format::OciFiles | Format::OciImage => Err(Error::new(
            Kind::Failed,
            format!("a download of the format {format:?} is no archive to unpack"),
        )),
    }?;
    search.finish()
}
