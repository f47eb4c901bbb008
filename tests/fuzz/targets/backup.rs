//! Backups. No fuzzer guesses a digest, so an input that does not look like an archive is the list of contents of one.

use std::io::Write as _;

use stub::backup::Backup;
use stub::progress::Progress;

use super::Memory;

pub(crate) fn check(input: &[u8]) {
    if input.starts_with(b"{") {
        let head = header("backup.json", input.len());
        let padding = vec![0; input.len().next_multiple_of(512) - input.len() + 1024];
        open(&[&head, input, &padding]);
    } else {
        open(&[input]);
    }
}

fn open(parts: &[&[u8]]) {
    let file = Memory::of(parts);
    let Ok(backup) = Backup::open(&file.path()) else {
        return;
    };
    // It is unpacked below a directory.
    for name in backup.contents.files.keys() {
        let inside = name.split('/').all(|part| part != "..");
        assert!(inside && !name.starts_with('/'), "{name:?}");
    }
    let _ = (backup.has_snapshot(), backup.has_data());
    drop(backup.verify(&Progress::silent()));
}

/// The header of a file in an archive (POSIX.1-1988, ustar).
fn header(name: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| {
        let _ = header[at..].as_mut().write_all(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let _ = header[148..]
        .as_mut()
        .write_all(format!("{sum:06o}\0 ").as_bytes());
    header
}
