//! The user's archives of images, as `docker save` and others write them.

use stub::images::fuzz::complete;

use super::Memory;

pub(crate) fn check(input: &[u8]) {
    let file = Memory::of(&[input]);
    for (name, size) in complete(&file.path()).unwrap_or_default() {
        assert!(name.contains('/'));
        // Each of its parts is in the archive.
        assert!(size <= input.len() as u64 * 64, "{name}: {size}");
    }
}
