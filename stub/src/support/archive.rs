//! A `.tar.gz` without a library: gzip allows blocks that are not compressed (RFC 1951, 3.2.4; RFC 1952). The archive is a few
//! megabytes, and every program can read it.

use crate::error::Result;

/// The most bytes that such a block can have.
const BLOCK: usize = 0xffff;

/// An archive with these files in a directory.
pub(super) fn tar_gz(directory: &str, files: &[(String, String)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{directory}/{name}"), text.as_bytes())?;
    }
    Ok(gzip(&tar.into_inner()?))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no hints, an unknown system.
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        all.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        all.extend(length.to_le_bytes());
        all.extend((!length).to_le_bytes());
        all.extend(block);
    }
    all.extend(crc32(bytes).to_le_bytes());
    // The length modulo 2³².
    all.extend(&bytes.len().to_le_bytes()[..4]);
    all
}

/// The checksum of gzip (RFC 1952, 8).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_can_read_it() {
        // The check value of this checksum.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let dir = tempfile::tempdir().unwrap();
        let long = "a long line\n".repeat(20_000);
        let files = [
            ("one.txt".to_owned(), "one\n".to_owned()),
            ("log/long.txt".to_owned(), long.clone()),
        ];
        let path = dir.path().join("a.tar.gz");
        fs_err::write(&path, tar_gz("top", &files).unwrap()).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.current_dir(dir.path()).args(["xzf", "a.tar.gz"]);
        assert!(tar.status().unwrap().success());
        let read = |name: &str| fs_err::read_to_string(dir.path().join("top").join(name)).unwrap();
        assert_eq!(
            (read("one.txt"), read("log/long.txt")),
            ("one\n".to_owned(), long)
        );
    }
}
