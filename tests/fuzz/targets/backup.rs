//! Backups. No fuzzer guesses a digest, so an input that does not look like an archive is the list of contents of one.

use stub::backup::Backup;
use stub::progress::Progress;

use super::Memory;

pub(crate) fn check(input: &[u8]) {
    if input.starts_with(b"{") {
        open(&archive("backup.json", input));
    } else {
        open(input);
    }
}

fn open(bytes: &[u8]) {
    let file = Memory::of(&[bytes]);
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

/// An archive with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let appended = archive.append_data(&mut header, name, content);
    appended.expect("written to memory");
    archive.into_inner().expect("written to memory")
}
