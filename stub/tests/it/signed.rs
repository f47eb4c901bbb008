//! Tests of `verify` with a signed bundle: a good signature, and every fault that it can have.

use std::path::PathBuf;

use fs_err as fs;

use support::home::Home;
use support::pack::Recipe;
use support::signer::Signer;

/// A bundle, and its signature by the first signer.
struct Release {
    home: Home,
    bundle: PathBuf,
    signature: PathBuf,
}

impl Release {
    fn new() -> Self {
        let home = Home::new();
        let bundle = Recipe::new("0.1.0", "3.5.30").pack();
        let bundle = home.program("usernetes-x86_64", &bundle);
        let signature = Signer::new(1).sign(&bundle);
        Self {
            home,
            bundle,
            signature,
        }
    }

    /// What `verify` prints on stdout, with the key of the first signer.
    fn good(&self, options: &[&str]) -> String {
        let said = self.verify(options);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout
    }

    /// The error that `verify` ends with.
    fn wrong(&self, options: &[&str]) -> String {
        let said = self.verify(options);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert_eq!(said.stdout, "");
        said.stderr
    }

    fn verify(&self, options: &[&str]) -> support::home::Said {
        let file = self.bundle.to_str().unwrap();
        let key = Signer::new(1).key();
        let own = ["verify", file, "--key", &key];
        let own = if options.contains(&"--key") {
            &own[..2]
        } else {
            &own[..]
        };
        self.home.usernetes(&[own, options].concat())
    }
}

#[test]
fn verify_names_the_key_of_a_good_signature() {
    let release = Release::new();
    let text = release.good(&[]);
    insta::assert_snapshot!(text.lines().last().unwrap(), @"signed by the key 0101010101010101: usernetes file:usernetes-x86_64");
    let json: serde_json::Value = serde_json::from_str(&release.good(&["--json"])).unwrap();
    assert_eq!(json["signature"]["origin"], "signed");
    assert_eq!(json["signature"]["key"], "0101010101010101");
}

#[test]
fn a_changed_byte_makes_the_signature_wrong() {
    let release = Release::new();
    let good = fs::read(&release.bundle).unwrap();
    // The byte is in the stub, in the payload, or in the trailer.
    for at in [10, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&release.bundle, bytes).unwrap();
        let error = release.wrong(&[]);
        assert!(
            error.contains("is damaged") || error.contains("not a whole bundle"),
            "byte {at}: {error}"
        );
    }
    // Somebody has changed a component and then corrected all digests in the bundle.
    let other = Recipe::new("0.1.0", "3.5.31").pack();
    fs::write(&release.bundle, other).unwrap();
    insta::assert_snapshot!(release.wrong(&[]), @r"
    error: $HOME/usernetes-x86_64: its bytes are not the ones that were signed
      signature  $HOME/usernetes-x86_64.minisig
      it says    `usernetes file:usernetes-x86_64`

    hint: the file was changed or damaged, or the signature is of another release: do not run it, download both again
    ");
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let release = Release::new();
    insta::assert_snapshot!(release.wrong(&["--key", &Signer::new(2).key()]), @r"
    error: $HOME/usernetes-x86_64.minisig: the signature was made with another key
      expected  key 0202020202020202
      found     key 0101010101010101

    hint: get the file and its signature from the project's own release page; if you trust that other key, name it with `--key`
    ");
}

#[test]
fn the_signature_of_another_file() {
    let release = Release::new();
    let other = Recipe::new("0.1.0", "3.5.31").pack();
    let other = release.home.program("usernetes-aarch64", &other);
    fs::rename(Signer::new(1).sign(&other), &release.signature).unwrap();
    insta::assert_snapshot!(release.wrong(&[]), @r"
    error: $HOME/usernetes-x86_64: $HOME/usernetes-x86_64.minisig is the signature of another file
      it says  `usernetes file:usernetes-aarch64`

    hint: download the signature that belongs to this file; if the file was only renamed, its bytes were changed too
    ");
}
