//! Makers of archives for the tests, good ones and bad ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use ::tar::{Builder, EntryType, Header};
use stub::error::{Error, Result};

use super::{Each, extract};
use crate::recipe::Format;

/// All that [`extract`] can read.
pub(super) const FORMATS: [Format; 6] = [
    Format::Tar,
    Format::TarGz,
    Format::TarBz2,
    Format::TarXz,
    Format::TarZst,
    Format::Deb,
];

/// A member with any name, also one that the tar library's own functions refuse to write.
pub(super) fn header(name: &str, sort: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(sort);
    header.set_size(size as u64);
    header.set_mode(0o755);
    header.set_cksum();
    header
}

/// An archive of regular files.
pub(super) fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in files {
        let header = header(name, EntryType::Regular, content.len());
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An archive with one member that is no regular file.
pub(super) fn special(name: &str, sort: EntryType, target: &str) -> Vec<u8> {
    let mut header = header(name, sort, 0);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.as_gnu_mut().unwrap().set_real_size(0);
    header.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&header, &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

/// An `ar` archive.
pub(super) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let header = format!(
            "{name:16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            100_644,
            content.len()
        );
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// One member, stream or frame of compressed data.
pub(super) fn compress(format: Format, bytes: &[u8]) -> Vec<u8> {
    match format {
        Format::TarGz => {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            gz.write_all(bytes).unwrap();
            gz.finish().unwrap()
        }
        Format::TarBz2 => {
            let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            bz.write_all(bytes).unwrap();
            bz.finish().unwrap()
        }
        Format::TarXz => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            xz.write_all(bytes).unwrap();
            xz.finish().unwrap()
        }
        Format::TarZst => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// Packs a tar archive the way the format says, compressed in two parts where it is compressed.
pub(super) fn pack(format: Format, tar: &[u8]) -> Vec<u8> {
    if format == Format::Deb {
        let data = pack(Format::TarXz, tar);
        return ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", b"ignored"),
            ("data.tar.xz", &data),
        ]);
    }
    let (first, second) = tar.split_at(tar.len().min(700));
    [compress(format, first), compress(format, second)].concat()
}

/// The files that are handed over, checked against the sizes that were announced.
pub(super) fn collect(
    run: impl FnOnce(&BTreeSet<String>, &mut Each<'_>) -> Result<()>,
    wanted: &[&str],
) -> Result<BTreeMap<String, Vec<u8>>> {
    let wanted = wanted.iter().map(ToString::to_string).collect();
    let mut taken = BTreeMap::new();
    run(&wanted, &mut |name, size, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, size);
        assert!(taken.insert(name.to_owned(), bytes).is_none());
        Ok(())
    })?;
    assert!(taken.keys().eq(&wanted));
    Ok(taken)
}

pub(super) fn take(
    format: Format,
    bytes: &[u8],
    wanted: &[&str],
) -> Result<BTreeMap<String, Vec<u8>>> {
    collect(|wanted, each| extract(format, bytes, wanted, each), wanted)
}

pub(super) fn refusal(tar: &[u8], wanted: &[&str]) -> Error {
    take(Format::Tar, tar, wanted).unwrap_err()
}

/// Does not compress well, so that there is something to cut off everywhere.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}
