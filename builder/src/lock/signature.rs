//! Signatures of a download, which take the download itself to check.

use std::path::Path;

use stub::error::{Error, Result};

use crate::debian::gpgv;

/// Checks a minisign signature of a file. `key` is the public key, base64.
pub(super) fn minisign(signature: &[u8], file: &Path, key: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("signature");
    fs_err::write(&path, signature)?;
    let checked = stub::signature::check(file, Some(&path), Some(key));
    checked.map(drop).map_err(|e| {
        // The paths are those of copies, and the next step is not that for a bundle.
        let why = e.message().rsplit(": ").next().unwrap_or_default();
        Error::new(e.kind(), "the minisign signature is not good")
            .expected(format!("a signature by the key {key}"))
            .found(why)
            .hint("take the file only if its publisher confirms that the key was changed; then put the new one into the recipe")
    })
}

/// Checks a detached OpenPGP signature of a file. Gives the fingerprint of the key that made it.
pub(super) fn openpgp(signature: &[u8], file: &Path, keyring: &Path) -> Result<String> {
    // A bare name would be looked up in gpgv's own directory.
    let keyring = fs_err::canonicalize(keyring)?;
    gpgv::verify_detached(signature, file, &keyring)
}
