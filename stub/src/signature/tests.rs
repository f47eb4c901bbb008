//! Keys and signatures were made once with minisign 0.11; the secret keys are gone.

use super::*;

const FILE: &str = "usernetes\n";
const KEY: &str = "RWTmO5JNa0E40wQfYwIo3pev64ePxPn8jCdrMYWYgFsuJ6x6LlYWvTzt";
const FOREIGN_KEY: &str = "RWTQbZUwObk97ZX6pIHA7pSo0tYAwpqwdQ/c+54zoRo2qBrjVCP47yjY";

/// Of [`FILE`], by [`KEY`].
const RIGHT: &str = "\
untrusted comment: signature from minisign secret key
RUTmO5JNa0E402m60FCnuJy2WX00UYJtnLnonIO4XYvs8A3aiULRxMQn5xXsqQv0QHITvcOwaOM09mDD2KpebXtTUw6VJXktsgs=
trusted comment: usernetes 0.1.0 file:usernetes-x86_64
HTGXcT8wwUe1ZwE9n0Zcaw+b5qIMQhm/+NFJx8WVw2QSYguE8/+4pTAVlvim5XBdCUut3PvCsUooScVPGcpgDQ==
";

/// Of [`FILE`], by [`FOREIGN_KEY`].
const FOREIGN: &str = "\
untrusted comment: signature from minisign secret key
RUTQbZUwObk97bTSeULRkt+zXnAsoi/a4cSEgnjo9sLr7QDXjYBBcwPwYo11vQ0ch1PmpxyyvUk80zqNQ1uSOVOxH3jlf0uQ0Q0=
trusted comment: file:usernetes-x86_64
ADWgtOZ1ZZvxpdeJGvsav7xDTwqVVEXQDRRZEcrtrnaPwM3N0K6IQs75g3Y75XpCDqdcNWSgFhQkHnOX3e0JAQ==
";

/// Of a file `usernetes-aarch64` with the content `another file\n`, by [`KEY`].
const OTHER: &str = "\
untrusted comment: signature from minisign secret key
RUTmO5JNa0E408dgCiT6BlZRHmEp6SVUjnEYmYOTHpz7I9TssQLQmqMaFVXVr1rBHsqsSF4WxFXvJNKYVEGmtAwmxaK58X3zTgc=
trusted comment: usernetes 0.1.0 file:usernetes-aarch64
y9Owp1fiNATLIDl2Nu0c+2YSuzVNOba06Kgf8vJp85CUWdKocqyQBT/dz2mF7edeccurxCVJrkgTlmCE9HYnDA==
";

/// Of [`FILE`], by [`KEY`], without prehashing (`minisign -S -l`).
const LEGACY: &str = "\
untrusted comment: signature from minisign secret key
RWTmO5JNa0E405KyJlyVwTheN+ye1flnhXFjxSJTa0XQDk4MuH6U4haweStU/9SXu2iI0dQJJiTTO84PXtsCBezHfo5Qalk9Lww=
trusted comment: file:usernetes-x86_64
UiMMJvcdAdSw9iaV4tuAQcaigitVm9YkHUPkgdiRUHuSZb5WQljZ7KZZ5tWDDEQWNxV+1OMdV1XBVRI/QlO3Bg==
";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// A directory with `usernetes-x86_64` and, if given, its signature.
    fn new(content: &str, signature: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        fs_err::write(place.file(), content).unwrap();
        if let Some(text) = signature {
            fs_err::write(beside(&place.file()), text).unwrap();
        }
        place
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("usernetes-x86_64")
    }

    fn error(&self, key: &str) -> String {
        let error = check(&self.file(), None, Some(key)).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let directory = format!("{}/", self.directory.path().display());
        error.to_string().replace(&directory, "")
    }
}

#[test]
fn a_right_signature() {
    let place = Place::new(FILE, Some(RIGHT));
    let verdict = check(&place.file(), None, Some(KEY)).unwrap();
    insta::assert_snapshot!(verdict, @"signed by the key D338416B4D923BE6: usernetes 0.1.0 file:usernetes-x86_64");
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn one_byte_changed() {
    let place = Place::new("usernetes\r", Some(RIGHT));
    insta::assert_snapshot!(place.error(KEY), @r"
    usernetes-x86_64: its bytes are not the ones that were signed
      signature  usernetes-x86_64.minisig
      it says    `usernetes 0.1.0 file:usernetes-x86_64`

    hint: the file was changed or damaged, or the signature is of another release: do not run it, download both again
    ");
}

#[test]
fn the_signature_of_another_file() {
    let place = Place::new(FILE, Some(OTHER));
    insta::assert_snapshot!(place.error(KEY), @r"
    usernetes-x86_64: usernetes-x86_64.minisig is the signature of another file
      it says  `usernetes 0.1.0 file:usernetes-aarch64`

    hint: download the signature that belongs to this file; if the file was only renamed, its bytes were changed too
    ");
}

#[test]
fn another_key() {
    let place = Place::new(FILE, Some(FOREIGN));
    insta::assert_snapshot!(place.error(KEY), @r"
    usernetes-x86_64.minisig: the signature was made with another key
      expected  key D338416B4D923BE6
      found     key ED3DB93930956DD0

    hint: get the file and its signature from the project's own release page; if you trust that other key, name it with `--key`
    ");
    assert!(
        check(&place.file(), None, Some(FOREIGN_KEY))
            .unwrap()
            .is_signed()
    );
}

#[test]
fn a_changed_comment() {
    let changed = RIGHT.replace("0.1.0", "9.9.9");
    let place = Place::new(FILE, Some(&changed));
    assert!(place.error(KEY).contains("not the ones that were signed"));
}

#[test]
fn the_legacy_form() {
    let place = Place::new(FILE, Some(LEGACY));
    insta::assert_snapshot!(place.error(KEY), @r"
    usernetes-x86_64.minisig: the signature is in minisign's legacy form, which is not accepted
      expected  a prehashed signature

    hint: ask the publisher to sign it again with minisign 0.11 or later, or with an earlier version and `-H`
    ");
}

#[test]
fn no_signature_at_all_in_the_file() {
    let long = "x".repeat(1 << 20);
    let cut = &RIGHT[..RIGHT.len() - 20];
    for text in ["", "<html>", "a\nb\nc\nd\n", "\n\u{e9}\n", cut, &long] {
        let place = Place::new(FILE, Some(text));
        assert!(
            place
                .error(KEY)
                .contains("this is not a minisign signature"),
            "{text}"
        );
    }
}

#[test]
fn without_a_signature_only_integrity_is_known() {
    let place = Place::new(FILE, None);
    let release_key = format!("untrusted comment: \n{KEY}\n");
    let verdict = check_with(&place.file(), &place.file(), None, None, &release_key).unwrap();
    insta::assert_snapshot!(verdict, @"only integrity was checked, not origin: there is no signature beside the file");
    insta::assert_snapshot!(place.error(KEY), @r"
    usernetes-x86_64: there is no signature to check
      looked for  usernetes-x86_64.minisig

    hint: download the `.minisig` file beside the release, or name it with `--signature`
    ");
}

#[test]
fn without_a_key_a_signature_says_nothing() {
    let place = Place::new(FILE, Some(FOREIGN));
    let verdict = check_with(
        &place.file(),
        &place.file(),
        None,
        None,
        "untrusted comment: none\n",
    )
    .unwrap();
    assert_eq!(verdict, Verdict::Unchecked);
    let error = check_with(
        &place.file(),
        &place.file(),
        Some(&beside(&place.file())),
        None,
        "",
    )
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("with `--key`"), "{error}");
}

#[test]
fn the_compiled_in_key_is_used_unless_another_is_named() {
    let place = Place::new(FILE, Some(RIGHT));
    let with = |key| {
        check_with(
            &place.file(),
            &place.file(),
            None,
            None,
            &format!("untrusted comment: \n{key}\n"),
        )
    };
    assert!(with(KEY).unwrap().is_signed());
    assert!(with(FOREIGN_KEY).is_err());
    assert!(
        with("RWnonsense")
            .unwrap_err()
            .to_string()
            .contains("release-key.pub")
    );
    let named = check_with(
        &place.file(),
        &place.file(),
        None,
        Some(KEY),
        &format!("\n{FOREIGN_KEY}\n"),
    );
    assert!(named.unwrap().is_signed());
}

#[test]
fn a_key_is_named_by_itself_or_by_its_file() {
    let place = Place::new(FILE, Some(RIGHT));
    let file = place.directory.path().join("minisign.pub");
    fs_err::write(&file, format!("untrusted comment: \n{KEY}\n")).unwrap();
    assert!(
        check(&place.file(), None, file.to_str())
            .unwrap()
            .is_signed()
    );
    let error = check(&place.file(), None, Some("no-such-key")).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
}

#[test]
fn a_signature_that_was_named_must_be_there() {
    let place = Place::new(FILE, Some(RIGHT));
    let missing = place.directory.path().join("missing.minisig");
    let error = check(&place.file(), Some(&missing), Some(KEY)).unwrap_err();
    assert!(error.to_string().contains("missing.minisig"), "{error}");
}

#[test]
fn the_release_key_is_a_key_or_absent() {
    assert!(Key::compiled_in(RELEASE_KEY).is_ok());
}
