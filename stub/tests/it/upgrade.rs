//! Tests of `upgrade`, which replaces the installed bundle with another one if its origin is right.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fs_err as fs;
use stub::signature::Verdict;

use support::home::{Home, Said};
use support::pack::Recipe;
use support::signer::Signer;

/// A home in which 0.1.0 is installed, with a recorded origin, and a bundle of 0.2.0 to upgrade to.
struct Stage {
    home: Home,
    next: PathBuf,
}

impl Stage {
    fn new(origin: &Verdict) -> Self {
        let home = Home::of_mortal();
        let first = Recipe::new("0.1.0", "3.5.30").runnable().pack();
        let first = home.program("first", &first);
        let origin = serde_json::to_string(origin).unwrap();
        let said = home.run(
            &first,
            &["install", "--cri=", "--start=", "--origin", &origin],
        );
        assert_eq!(said.code, Some(0), "{said:?}");
        let next = Recipe::new("0.2.0", "3.6.0").runnable().pack();
        let next = home.program("usernetes-next", &next);
        Self { home, next }
    }

    fn upgrade(&self, options: &[&str]) -> Said {
        let program = self.home.data().join("current/bin/usernetes");
        let file = self.next.to_str().unwrap();
        self.home
            .run(&program, &[&["upgrade", file], options].concat())
    }

    /// Damages the bundle to upgrade to, in its stub itself. It must not run, because it could claim to be undamaged.
    fn damage(&self) {
        let mut bytes = fs::read(&self.next).unwrap();
        bytes[0x1000] ^= 1;
        fs::write(&self.next, bytes).unwrap();
    }

    fn release(&self) -> String {
        self.home.current().manifest().release.to_string()
    }

    fn refused(&self, options: &[&str]) -> String {
        self.refused_at("0.1.0", options)
    }

    /// Runs `upgrade`, checks that it refuses and that this release stays installed, and returns the error.
    fn refused_at(&self, release: &str, options: &[&str]) -> String {
        let said = self.upgrade(options);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert_eq!(self.release(), release);
        said.stderr
    }

    /// Replaces the bundle to upgrade to with one of another release, without a signature. Returns the path for a signature.
    fn release_next(&mut self, release: &'static str, etcd: &'static str) -> PathBuf {
        let bytes = Recipe::new(release, etcd).runnable().pack();
        fs::remove_file(&self.next).unwrap();
        self.next = self.home.program("usernetes-next", &bytes);
        let signature = self.next.with_extension("minisig");
        match fs::remove_file(&signature) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{e}"),
            _ => signature,
        }
    }
}

/// The origin of a bundle that the project signed.
fn signed() -> Verdict {
    Verdict::Signed {
        key: project().key_id(),
        comment: "usernetes file:usernetes-next".to_owned(),
    }
}

/// The signer of the releases.
fn project() -> Signer {
    Signer::new(1)
}

/// Another signer.
fn stranger() -> Signer {
    Signer::new(2)
}

#[test]
fn installs_the_file_with_the_settings_there_are() {
    let stage = Stage::new(&Verdict::Unsigned);
    let config = stage.home.path().join(".config/usernetes/config.toml");
    let before = fs::read_to_string(&config).unwrap();
    let said = stage.upgrade(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.release(), "0.2.0");
    assert_eq!(stage.home.current().number(), 2);
    assert_eq!(stage.home.current().origin().unwrap(), Verdict::Unsigned);
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    assert!(
        said.stderr
            .contains("only integrity was checked, not origin"),
        "{said:?}"
    );
    let json: serde_json::Value = serde_json::from_str(&stage.upgrade(&["--json"]).stdout).unwrap();
    assert_eq!(json["generation"], 2);
    assert_eq!(json["changed"], false);
}

#[test]
fn refuses_a_damaged_file_before_it_runs() {
    let stage = Stage::new(&Verdict::Unsigned);
    stage.damage();
    assert!(stage.refused(&["--force"]).contains("is damaged"));
}

/// That takes no time, unlike reading all of a damaged file.
#[test]
fn a_file_that_is_not_executable_is_refused_before_it_is_read() {
    let stage = Stage::new(&Verdict::Unsigned);
    stage.damage();
    fs::set_permissions(&stage.next, PermissionsExt::from_mode(0o644)).unwrap();
    let said = stage.upgrade(&[]);
    assert!(said.stderr.contains("run `chmod +x "), "{said:?}");
    assert_eq!(stage.release(), "0.1.0");
}

#[test]
fn a_good_signature_is_recorded_and_from_then_on_expected() {
    let mut stage = Stage::new(&Verdict::Unsigned);
    let key = project().key();
    project().sign(&stage.next);
    let said = stage.upgrade(&["--key", &key]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.release(), "0.2.0");
    assert_eq!(stage.home.current().origin().unwrap(), signed());
    insta::assert_snapshot!(said.stderr.lines().next().unwrap(), @"$HOME/usernetes-next: signed by the key 0101010101010101: usernetes file:usernetes-next");

    let signature = stage.release_next("0.3.0", "3.7.0");
    let refused = stage.refused_at("0.2.0", &["--key", &key]);
    assert!(
        refused.contains("there is no signature to check"),
        "{refused}"
    );
    let refused = stage.refused_at("0.2.0", &[]);
    assert!(refused.contains("found     no signature"), "{refused}");

    stranger().sign(&stage.next);
    let refused = stage.refused_at("0.2.0", &["--key", &stranger().key()]);
    insta::assert_snapshot!(refused, @r"
    error: the installed bundle was signed, but the new one does not have the same origin
      expected  signed by the key 0101010101010101
      found     signed by the key 0202020202020202

    hint: put the `.minisig` file of the release beside the bundle; if you trust the bundle anyway, use `--force`
    ");
    // A signature by another key than the named one is an error, not only another origin, so `--force` does not help.
    for options in [&["--key", &key][..], &["--key", &key, "--force"]] {
        let refused = stage.refused_at("0.2.0", options);
        assert!(
            refused.contains("the signature was made with another key"),
            "{refused}"
        );
    }

    fs::remove_file(signature).unwrap();
    project().sign(&stage.next);
    let said = stage.upgrade(&["--key", &key]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.release(), "0.3.0");
    assert_eq!(stage.home.current().origin().unwrap(), signed());
    // The installed generation has recorded who signed its bundle.
    let said = stage.home.usernetes(&["verify"]);
    let expected = format!("\nwhen it was installed, its bundle was {}\n", signed());
    assert!(said.stdout.ends_with(&expected), "{said:?}");
    let said = stage.home.usernetes(&["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["signature"], serde_json::to_value(signed()).unwrap());
}

#[test]
fn another_key_is_accepted_if_forced_and_is_the_one_on_record_then() {
    let stage = Stage::new(&signed());
    stranger().sign(&stage.next);
    let said = stage.upgrade(&["--key", &stranger().key(), "--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.release(), "0.2.0");
    let Verdict::Signed { key, .. } = stage.home.current().origin().unwrap() else {
        panic!("its origin was checked");
    };
    assert_eq!(key, stranger().key_id());
}

#[test]
fn refuses_a_wrong_signature_even_if_forced() {
    let mut stage = Stage::new(&Verdict::Unsigned);
    let key = project().key();
    // The signature is for 0.2.0. Another bundle, which is undamaged, takes the place of that file.
    let signature = project().sign(&stage.next);
    let kept = fs::read(&signature).unwrap();
    stage.release_next("0.3.0", "3.7.0");
    fs::write(&signature, kept).unwrap();
    let text = stage.refused(&["--key", &key, "--force"]);
    assert!(text.contains("not the ones that were signed"), "{text}");

    let other = stage.home.program("usernetes-other", b"another file");
    fs::rename(project().sign(&other), signature).unwrap();
    let text = stage.refused(&["--key", &key, "--force"]);
    assert!(text.contains("is the signature of another file"), "{text}");
}

#[test]
fn what_was_signed_is_not_replaced_by_what_is_not_unless_forced() {
    let stage = Stage::new(&signed());
    assert_eq!(stage.home.current().origin().unwrap(), signed());
    insta::assert_snapshot!(stage.refused(&[]), @r"
    error: the installed bundle was signed, but the new one does not have the same origin
      expected  signed by the key 0101010101010101
      found     no signature

    hint: put the `.minisig` file of the release beside the bundle; if you trust the bundle anyway, use `--force`
    ");
    let said = stage.upgrade(&["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.release(), "0.2.0");
    assert_eq!(stage.home.current().origin().unwrap(), Verdict::Unsigned);
}

#[test]
fn a_damaged_record_is_no_way_round_and_is_mended() {
    let stage = Stage::new(&signed());
    let record = stage.home.current().path().join("origin.json");
    fs::remove_file(&record).unwrap();
    fs::write(&record, "{}").unwrap();
    assert!(stage.refused(&[]).contains("origin.json"));
    assert_eq!(stage.home.damages().len(), 1);
    let said = stage.home.run(
        &stage.home.path().join("first"),
        &["install", "--cri=", "--start="],
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.home.damages(), []);
}
