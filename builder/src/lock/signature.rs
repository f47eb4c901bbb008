//! Signatures of a download, which take the download itself to check.

use std::path::Path;

use stub::error::{Context, Error, Kind, Result};
use stub::signature::{self, Fault};

use crate::debian::gpgv;
use crate::wording::beginning;

/// Checks a minisign signature of a file. `key` is the public key, base64.
pub(super) fn minisign(signature: &[u8], file: &Path, key: &str) -> Result<()> {
    let checked = signature::verify(file, signature, key).hint(|| {
        "correct `key` in the recipe, or ask upstream to publish its signature again".to_owned()
    })?;
    let Err(fault) = checked else {
        return Ok(());
    };
    let error = |what: &str| {
        Error::new(Kind::Integrity, what).expected(format!("a signature by the key {key}"))
    };
    Err(match fault {
        Fault::Malformed => error("this is no minisign signature")
            .found(beginning(signature))
            .hint("open the address in a browser; if upstream has renamed its signatures, change `url` of the check in the recipe"),
        Fault::Legacy => Error::new(
            Kind::Integrity,
            "the minisign signature is of the legacy kind, which is not accepted",
        )
        .expected("a prehashed signature")
        .found("a signature of the file itself")
        .hint("the file itself may be good: ask its publisher to sign with minisign 0.11 or later, or with `-H`; until then, use another check in the recipe"),
        Fault::OtherKey(id) => error("the minisign signature is not good")
            .found(format!("the signature was made with another key, {id}"))
            .hint("take the file only if its publisher confirms that the key was changed; then put the new one into the recipe"),
        Fault::Mismatch(comment) => error("the minisign signature is not good")
            .found("its bytes are not the ones that were signed")
            .detail("it says", format!("`{}`", comment.escape_debug()))
            .hint("the file or its signature was changed or damaged: try again from another network; if the result is the same, do not use the file, and tell upstream"),
    })
}

/// Checks a detached OpenPGP signature of a file. Gives the fingerprint of the key that made it.
pub(super) fn openpgp(signature: &[u8], file: &Path, keyring: &Path) -> Result<String> {
    // A bare name would be looked up in gpgv's own directory.
    let keyring = fs_err::canonicalize(keyring)?;
    gpgv::verify_detached(signature, file, &keyring)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the file `usernetes\n`, without prehashing (`minisign -S -l`).
    const LEGACY: &str = "\
untrusted comment: signature from minisign secret key
RWTmO5JNa0E405KyJlyVwTheN+ye1flnhXFjxSJTa0XQDk4MuH6U4haweStU/9SXu2iI0dQJJiTTO84PXtsCBezHfo5Qalk9Lww=
trusted comment: file:usernetes-x86_64
UiMMJvcdAdSw9iaV4tuAQcaigitVm9YkHUPkgdiRUHuSZb5WQljZ7KZZ5tWDDEQWNxV+1OMdV1XBVRI/QlO3Bg==
";
    const KEY: &str = "RWTmO5JNa0E40wQfYwIo3pev64ePxPn8jCdrMYWYgFsuJ6x6LlYWvTzt";

    fn refusal(signature: &[u8], key: &str) -> Error {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "usernetes\n").unwrap();
        minisign(signature, file.path(), key).unwrap_err()
    }

    #[test]
    fn a_legacy_signature_is_not_said_to_be_by_another_key() {
        insta::assert_snapshot!(refusal(LEGACY.as_bytes(), KEY), @r"
        the minisign signature is of the legacy kind, which is not accepted
          expected  a prehashed signature
          found     a signature of the file itself

        hint: the file itself may be good: ask its publisher to sign with minisign 0.11 or later, or with `-H`; until then, use another check in the recipe
        ");
    }

    #[test]
    fn a_key_of_the_recipe_is_not_said_to_be_an_option() {
        let error = refusal(LEGACY.as_bytes(), "RWnonsense");
        assert_eq!(error.kind(), Kind::Input);
        let shown = error.to_string();
        assert!(
            shown.starts_with("`RWnonsense` is no minisign public key"),
            "{shown}"
        );
        assert!(
            shown.contains("hint: correct `key` in the recipe"),
            "{shown}"
        );
    }
}
