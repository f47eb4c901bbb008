//! What publishers of files and images write about them.

use builder::fuzz;

use super::check_error;

/// Files of digests.
pub(crate) fn checksums(input: &[u8]) {
    for sidecar in [false, true] {
        match fuzz::checksums(input, sidecar) {
            // It is written there.
            Ok(digest) => {
                let text = String::from_utf8_lossy(input).to_ascii_lowercase();
                assert!(text.contains(&digest.hex()));
            }
            Err(error) => check_error(&error),
        }
    }
}

/// What registries answer: indexes, manifests and configurations.
pub(crate) fn image(input: &[u8]) {
    match fuzz::image(input) {
        // A part has a digest.
        Ok(parts) => assert!(parts * 64 <= input.len()),
        Err(error) => check_error(&error),
    }
}

/// Debian's `Release` and `Packages` files.
pub(crate) fn packages(input: &[u8]) {
    let errors = [fuzz::release(input), fuzz::packages(input)];
    errors.iter().flatten().for_each(check_error);
}
