//! `upgrade`: another bundle takes the installed one's place, if it may.
//!
//! Keys and signatures are those of `stub::signature`'s tests; the secret keys are gone.

use std::path::PathBuf;

use fs_err as fs;
use stub::signature::Verdict;

use crate::home::{Home, Said};
use crate::pack::Recipe;

const KEY: &str = "RWTmO5JNa0E40wQfYwIo3pev64ePxPn8jCdrMYWYgFsuJ6x6LlYWvTzt";
const KEY_ID: &str = "D338416B4D923BE6";

/// Of the text `usernetes` and a line feed, by [`KEY`].
const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUTmO5JNa0E402m60FCnuJy2WX00UYJtnLnonIO4XYvs8A3aiULRxMQn5xXsqQv0QHITvcOwaOM09mDD2KpebXtTUw6VJXktsgs=
trusted comment: usernetes 0.1.0 file:usernetes-x86_64
HTGXcT8wwUe1ZwE9n0Zcaw+b5qIMQhm/+NFJx8WVw2QSYguE8/+4pTAVlvim5XBdCUut3PvCsUooScVPGcpgDQ==
";

/// A home where 0.1.0 is installed, with that origin on record, and 0.2.0 waits to be.
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

    fn release(&self) -> String {
        self.home.current().manifest().release.to_string()
    }

    fn refused(&self, options: &[&str]) -> String {
        let said = self.upgrade(options);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert_eq!(self.release(), "0.1.0");
        said.stderr
    }
}

fn signed() -> Verdict {
    Verdict::Signed {
        key: KEY_ID.to_owned(),
        comment: "file:usernetes-x86_64".to_owned(),
    }
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
    let mut bytes = fs::read(&stage.next).unwrap();
    // In the stub itself: it must not get the chance to say that it is whole.
    bytes[0x1000] ^= 1;
    fs::write(&stage.next, bytes).unwrap();
    assert!(stage.refused(&["--force"]).contains("is damaged"));
}

#[test]
fn refuses_a_wrong_signature_even_if_forced() {
    let stage = Stage::new(&Verdict::Unsigned);
    fs::write(stage.next.with_extension("minisig"), SIGNATURE).unwrap();
    let text = stage.refused(&["--key", KEY, "--force"]);
    assert!(text.contains("is the signature of another file"), "{text}");
}

#[test]
fn what_was_signed_is_not_replaced_by_what_is_not_unless_forced() {
    let stage = Stage::new(&signed());
    assert_eq!(stage.home.current().origin().unwrap(), signed());
    insta::assert_snapshot!(stage.refused(&[]), @r"
    error: the installed bundle was signed, and the new one has not the same origin
      expected  signed by the key D338416B4D923BE6
      found     no signature

    hint: put the `.minisig` file of the release beside the bundle; if you trust the bundle all the same, use `--force`
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
