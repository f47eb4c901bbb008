//! `builder verify`: do a bundle's bytes match its manifest, and does this checkout make the same ones?

use std::io::{BufReader, Read};
use std::path::Path;

use fs_err::File;
use serde::Serialize;
use stub::bundle::{Bundle, Name};
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::signature::Verdict;

/// The result of the check.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The bundle id.
    pub id: Sha256,
    /// How many components it has.
    pub components: usize,
    /// How many bytes its files have once unpacked.
    pub unpacked: u64,
    /// The verdict on its signature.
    pub origin: Option<Verdict>,
    /// Whether it was built again with the same result.
    pub rebuilt: bool,
}

/// Checks every byte of a bundle against its own digests. That is integrity; it says nothing of origin.
pub fn integrity(file: &Path, progress: &Progress) -> Result<(Bundle, Verified)> {
    let bundle = Bundle::open(file)?;
    let manifest = bundle.manifest();
    let unpacked = manifest.frames.iter().map(|f| f.size).sum();
    let task = progress.task(format!("verify {}", file.display()), unpacked);
    bundle.verify(|frame| task.advance(frame.size))?;
    task.clear();
    let verified = Verified {
        id: bundle.id(),
        components: manifest.components.len(),
        unpacked,
        origin: None,
        rebuilt: false,
    };
    Ok((bundle, verified))
}

/// The components to name for building a bundle again: none when it holds all that the lockfile has.
#[must_use]
pub fn components(bundle: &Bundle) -> Vec<Name> {
    bundle
        .manifest()
        .components
        .iter()
        .map(|c| c.name.clone())
        .collect()
}

/// Compares a bundle with the one that was built again, byte by byte.
pub fn same_bytes(original: &Bundle, rebuilt: &Bundle) -> Result<()> {
    let mut pair = [
        BufReader::with_capacity(1 << 20, File::open(original.path())?),
        BufReader::with_capacity(1 << 20, File::open(rebuilt.path())?),
    ];
    let mut buffers = [vec![0; 1 << 20], vec![0; 1 << 20]];
    let mut offset = 0u64;
    loop {
        let mut counts = [0; 2];
        for ((count, file), buffer) in counts.iter_mut().zip(&mut pair).zip(&mut buffers) {
            *count = read_full(file, buffer)?;
        }
        let [a, b] = &buffers;
        let common = counts[0].min(counts[1]);
        if let Some(at) = (0..common)
            .find(|i| a[*i] != b[*i])
            .or((counts[0] != counts[1]).then_some(common))
        {
            let offset = offset + at as u64;
            return Err(Error::new(Kind::Integrity, format!("{}: building it again gives other bytes", original.path().display()))
                .detail("first difference", format!("byte {offset}, in {}", region(original, offset)))
                .detail("this file's stub", original.manifest().stub.sha256)
                .detail("rebuilt stub", rebuilt.manifest().stub.sha256)
                .hint("check out the commit that the release was made from, with its toolchain (`rust-toolchain.toml`) and C library"));
        }
        if common == 0 {
            return Ok(());
        }
        offset += common as u64;
    }
}

/// In which part of a bundle a byte lies.
fn region(bundle: &Bundle, offset: u64) -> String {
    let trailer = bundle.trailer();
    if offset < trailer.stub_len {
        return "the stub".to_owned();
    }
    if offset < trailer.payload_offset {
        return "the padding after the stub".to_owned();
    }
    if offset >= trailer.manifest_offset {
        return "the manifest or the trailer".to_owned();
    }
    let mut end = trailer.payload_offset;
    for frame in &bundle.manifest().frames {
        end += frame.length;
        if offset < end {
            return bundle.owners(frame);
        }
    }
    "the payload".to_owned()
}

/// Fills the buffer as far as the file goes.
fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
