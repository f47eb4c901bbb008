//! Opens private parsers to `tests/fuzz`. Only with the feature `fuzz`.

use std::collections::BTreeSet;

use stub::bundle::{Arch, Name};
use stub::digest::{Digest, Sha256};

use crate::oci::document::{self, Parsed};
use crate::{debian, lock};

/// Reads Debian's index of packages.
pub fn packages(text: &[u8]) {
    let wanted = BTreeSet::from(["etcd-server", "a"]);
    drop(debian::packages::parse(text, "amd64", &wanted));
}

/// Reads Debian's list of the indexes of a suite.
pub fn release(text: &[u8]) {
    if let Ok(suite) = "stable".parse::<Name>() {
        drop(debian::release::Release::parse(text, &suite, String::new()));
    }
}

/// Reads a document of an image as each kind of document.
pub fn image(bytes: &[u8]) {
    let digest = Digest::from(Sha256::of(bytes));
    drop(document::config_platform(bytes));
    if let Ok((_, Parsed::Index(manifests))) = document::parse(bytes, &digest) {
        drop(document::candidates(manifests, Arch::X86_64));
    }
}

/// Looks for a digest in a file of digests.
pub fn checksums(text: &[u8]) {
    for sidecar in [false, true] {
        drop(lock::checksums::find(
            text,
            "https://localhost/v1/a",
            sidecar,
        ));
    }
}
