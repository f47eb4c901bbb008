//! Signs as `minisign -S` does, so that tests have good signatures of bundles that are made while they run.
//!
//! The format is that of <https://jedisct1.github.io/minisign/#signature-format>. Keys follow from a number: nothing
//! here is secret, and a test that fails fails again.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::{Blake2b512, Digest as _};
use fs_err as fs;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Somebody who signs releases.
pub struct Signer {
    id: [u8; 8],
    pair: Ed25519KeyPair,
}

impl Signer {
    /// Each number gives another key.
    pub fn new(number: u8) -> Self {
        Self {
            id: [number; 8],
            pair: Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap(),
        }
    }

    /// The public key, as it is given to `--key`.
    pub fn key(&self) -> String {
        let public = self.pair.public_key().as_ref();
        BASE64_STANDARD.encode([b"Ed", &self.id[..], public].concat())
    }

    /// The key's id, as minisign prints it.
    pub fn key_id(&self) -> String {
        format!("{:016X}", u64::from_le_bytes(self.id))
    }

    /// Writes `<file>.minisig`, whose trusted comment names the file, as that of a release does. Gives its path.
    pub fn sign(&self, file: &Path) -> PathBuf {
        let name = file.file_name().unwrap().to_str().unwrap();
        let comment = format!("usernetes file:{name}");
        let digest = Blake2b512::digest(fs::read(file).unwrap());
        let signature = self.pair.sign(&digest);
        let both = self
            .pair
            .sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let line = BASE64_STANDARD.encode([b"ED", &self.id[..], signature.as_ref()].concat());
        let both = BASE64_STANDARD.encode(both);
        let path = file.with_file_name(format!("{name}.minisig"));
        let text = format!("untrusted comment: test\n{line}\ntrusted comment: {comment}\n{both}\n");
        fs::write(&path, text).unwrap();
        path
    }
}
