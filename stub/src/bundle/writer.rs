//! Putting a bundle together.

use std::io::{self, Read, Write};

use super::trailer::Trailer;
use super::{ALIGNMENT, Manifest};
use crate::digest::{Hasher, Sha256};
use crate::error::{Error, Kind, Result};

/// Writes a bundle: the stub, the frames in the manifest's order, the manifest and the trailer.
///
/// `frame` gives the compressed bytes of the manifest's frame of that index. Stub and frames are checked against
/// the manifest as they pass. Gives the bundle id. Nothing is synced: that is the caller's task.
pub fn write(
    out: &mut impl Write,
    stub: impl Read,
    manifest: &Manifest,
    mut frame: impl FnMut(usize) -> Result<Vec<u8>>,
) -> Result<Sha256> {
    manifest.check()?;
    let mut hasher = Hasher::new(&mut *out);
    let stub_len = io::copy(&mut { stub }, &mut hasher)?;
    let (_, stub_sha256) = hasher.finish();
    if (stub_sha256, stub_len) != (manifest.stub.sha256, manifest.stub.size) {
        return Err(Error::new(
            Kind::Integrity,
            "the stub changed while the bundle was being written",
        )
        .expected(manifest.stub.sha256)
        .found(stub_sha256)
        .hint("run the same command again"));
    }
    let padding = stub_len.next_multiple_of(ALIGNMENT) - stub_len;
    io::copy(&mut io::repeat(0).take(padding), out)?;
    for (index, entry) in manifest.frames.iter().enumerate() {
        let bytes = frame(index)?;
        if Sha256::of(&bytes) != entry.packed || bytes.len() as u64 != entry.length {
            return Err(Error::new(
                Kind::Integrity,
                format!(
                    "the compressed form of {} changed while the bundle was being written",
                    entry.sha256
                ),
            )
            .hint("run the same command again"));
        }
        out.write_all(&bytes)?;
    }
    let payload_len = manifest.frames.iter().map(|f| f.length).sum();
    let text = manifest.encode();
    let id = Sha256::of(&text);
    out.write_all(&text)?;
    out.write_all(&Trailer::new(stub_len, payload_len, text.len() as u64, id).encode())?;
    Ok(id)
}
