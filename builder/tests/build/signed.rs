//! `builder verify` of a bundle that somebody signed: what is right with it, or which of the things that can be wrong is.

use std::fs;
use std::path::PathBuf;

use crate::site::{Site, artifact};
use support::signer::Signer;

/// A bundle, and its signature by the first signer.
struct Release {
    site: Site,
    signature: PathBuf,
}

impl Release {
    fn new() -> Self {
        let site = Site::new();
        site.build(&["--components", "single"]).success();
        let signature = Signer::new(1).sign(&site.bundle());
        Self { site, signature }
    }

    /// The error that `verify` ends with.
    fn wrong(&self, signer: &Signer) -> String {
        let text = self.site.verify(&["--key", &signer.key()]).failure(4);
        text.replace(self.site.root().to_str().unwrap(), "$DIR")
    }

    /// Another bundle, made of another program.
    fn build_another(&mut self) {
        let url = "https://example.org/1.1/single";
        let changed = artifact(&self.site, "plain", b"a single Program", url, "1.1");
        self.site.lock("single", "1.1", &changed);
        self.site.build(&["--components", "single"]).success();
    }
}

#[test]
fn a_good_signature() {
    let release = Release::new();
    let key = Signer::new(1).key();
    let text = release.site.verify(&["--key", &key]).success();
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "signed by the key 0101010101010101: usernetes file:bundle"
    );
    let json = release.site.verify(&["--key", &key, "--json"]).success();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["origin"]["origin"], "signed");
    assert_eq!(json["origin"]["key"], Signer::new(1).key_id());
}

#[test]
fn one_byte_changed() {
    let mut release = Release::new();
    let good = fs::read(release.site.bundle()).unwrap();
    let mut bytes = good.clone();
    bytes[good.len() / 2] ^= 1;
    fs::write(release.site.bundle(), bytes).unwrap();
    let error = release.wrong(&Signer::new(1));
    assert!(error.contains("is damaged"), "{error}");

    // One byte of a component, by somebody who then makes all of the bundle's own digests fit.
    release.build_another();
    insta::assert_snapshot!(release.wrong(&Signer::new(1)), @r"
    error: $DIR/bundle: its bytes are not the ones that were signed
      signature  $DIR/bundle.minisig
      it says    `usernetes file:bundle`

    hint: the file was changed or damaged, or the signature is of another release: do not run it, download both again
    ");
}

#[test]
fn another_key() {
    insta::assert_snapshot!(Release::new().wrong(&Signer::new(2)), @r"
    error: $DIR/bundle.minisig: the signature was made with another key
      expected  key 0202020202020202
      found     key 0101010101010101

    hint: get the file and its signature from the project's own release page; if you trust that other key, name it with `--key`
    ");
}

#[test]
fn the_signature_of_another_file() {
    let mut release = Release::new();
    let other = release.site.root().join("usernetes-aarch64");
    fs::rename(release.site.bundle(), &other).unwrap();
    let signature = Signer::new(1).sign(&other);
    release.build_another();
    fs::rename(signature, &release.signature).unwrap();
    insta::assert_snapshot!(release.wrong(&Signer::new(1)), @r"
    error: $DIR/bundle: $DIR/bundle.minisig is the signature of another file
      it says  `usernetes file:usernetes-aarch64`

    hint: download the signature that belongs to this file; if the file was only renamed, its bytes were changed too
    ");
}
