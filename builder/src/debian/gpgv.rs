//! Signed text, checked by gpgv(1).

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use stub::error::{Error, Kind, Result};

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const END: &str = "-----END PGP SIGNATURE-----";
const NEWER_KEYS: &str = "try again; if the archive's keys are newer than this machine's, `apt-get install debian-archive-keyring` brings them";

/// What somebody with a key in the keyring signed.
#[derive(Debug)]
pub(super) struct Signed {
    /// The signed text, as gpgv gives it.
    pub(super) text: Vec<u8>,
    /// Fingerprint of the primary key that the first good signature belongs to.
    pub(super) key: String,
}

/// Checks a clear-signed message. One good signature is enough, since an archive signs with old and new keys at a time;
/// a single bad one refuses it.
pub(super) fn verify(message: &[u8], keyring: &Path) -> Result<Signed> {
    verify_with("gpgv", message, keyring)
}

/// Checks a text whose signature is a file of its own, as an archive publishes it beside the clear-signed message.
pub(super) fn verify_pair(text: Vec<u8>, signature: &[u8], keyring: &Path) -> Result<Signed> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs_err::write(&path, content).map(|()| path)
    };
    let (signature, message) = (file("signature", signature)?, file("text", &text)?);
    let key = run("gpgv", directory.path(), keyring, &[&signature, &message])
        .map_err(|e| e.hint(NEWER_KEYS))?;
    Ok(Signed { text, key })
}

/// Checks a detached signature of a file. Gives the fingerprint of the primary key that made it.
pub(crate) fn verify_detached(signature: &[u8], file: &Path, keyring: &Path) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("signature");
    fs_err::write(&input, signature)?;
    run("gpgv", directory.path(), keyring, &[&input, file]).map_err(|e| {
        e.hint("take the file only if its publisher confirms that the key was changed; then put the new one into the recipe's keyring")
    })
}

fn verify_with(program: &str, message: &[u8], keyring: &Path) -> Result<Signed> {
    check_frame(message)?;
    let directory = tempfile::tempdir()?;
    let (input, output) = (
        directory.path().join("message"),
        directory.path().join("text"),
    );
    fs_err::write(&input, message)?;
    let arguments = [Path::new("--output"), &output, &input];
    let key =
        run(program, directory.path(), keyring, &arguments).map_err(|e| e.hint(NEWER_KEYS))?;
    Ok(Signed {
        text: fs_err::read(&output)?,
        key,
    })
}

/// Runs gpgv with a home that is an empty directory. Gives the fingerprint of the primary key of a good signature.
fn run(program: &str, home: &Path, keyring: &Path, arguments: &[&Path]) -> Result<String> {
    let ran = Command::new(program)
        // gpgv itself takes MD5 for weak; SHA-1 and RIPEMD-160 are what apt no longer takes either.
        .args(["--weak-digest", "SHA1", "--weak-digest", "RIPEMD160"])
        .args(["--status-fd", "1", "--homedir"])
        .arg(home)
        .arg("--keyring")
        .arg(keyring)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| match e.kind() {
            // The second is what a PATH with a directory that may not be searched gives.
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::new(
                Kind::Host,
                format!("the program `{program}`, which checks signatures, is not on this machine"),
            )
            .hint("install it: `apt-get install gpgv`"),
            _ => Error::from(e).about(format!("`{program}`")),
        })?;
    let status = String::from_utf8_lossy(&ran.stdout);
    let Some(key) = good_key(&status) else {
        let said = String::from_utf8_lossy(&ran.stderr);
        let said: Vec<&str> = said
            .lines()
            .map(|l| l.trim_start_matches("gpgv:").trim())
            .collect();
        return Err(Error::new(
            Kind::Integrity,
            "the signature is not good: damaged, tampered with, or by an unknown key",
        )
        .expected(format!("a signature by a key in {}", keyring.display()))
        .found(said.join("; ")));
    };
    Ok(key)
}

/// Nothing may stand around the signed text, and there may be only one: a reader of the file would be misled by it.
fn check_frame(message: &[u8]) -> Result<()> {
    let wrong = |why: &str, found: &str| {
        let shown: String = found.chars().take(60).collect();
        Err(Error::new(Kind::Integrity, why)
            .expected(format!("one message, from `{BEGIN}` to `{END}`"))
            .found(format!("{shown:?}"))
            .hint("something between here and the archive answers in its place, or it is in the middle of an update: open the URL in a browser, or try again in a few minutes"))
    };
    let text = String::from_utf8_lossy(message);
    let text = text.trim_end();
    let first = text.lines().next().unwrap_or_default();
    let last = text.lines().next_back().unwrap_or_default();
    if first.trim_end() != BEGIN {
        return wrong("it is not a signed message", first);
    }
    if last != END {
        return wrong("it does not end with its signature", last);
    }
    let count = |marker: &str| text.lines().filter(|l| l.trim_end() == marker).count();
    if count(BEGIN) != 1 || count(END) != 1 {
        return wrong("it holds more than one signed message", first);
    }
    Ok(())
}

/// The primary key of the first good signature in gpgv's status lines (`doc/DETAILS` of its source), unless any is bad.
fn good_key(status: &str) -> Option<String> {
    let mut good = None;
    let mut last_is_good = false;
    for line in status.lines() {
        let mut words = line.strip_prefix("[GNUPG:] ")?.split(' ');
        match words.next()? {
            "NEWSIG" => last_is_good = false,
            // Signatures by expired or revoked keys have other words, and a VALIDSIG all the same.
            "GOODSIG" => last_is_good = true,
            "BADSIG" => return None,
            "VALIDSIG" if last_is_good && good.is_none() => good = words.next_back(),
            _ => {}
        }
    }
    good.filter(|key| key.len() >= 40 && key.bytes().all(|c| c.is_ascii_hexdigit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8";

    #[test]
    fn only_a_good_signature_counts() {
        let valid = format!("[GNUPG:] VALIDSIG 4CB5 2026-07-11 1783765031 0 4 0 1 8 01 {KEY}\n");
        let new = "[GNUPG:] PLAINTEXT 74 0 \n[GNUPG:] NEWSIG\n";
        let good = format!("{new}[GNUPG:] GOODSIG 6ED0 Archive Key <a@b>\n{valid}");
        let unknown = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 78DB 1 8 01 1783765032 9 B8E5\n[GNUPG:] NO_PUBKEY 78DB\n";
        assert_eq!(good_key(&good).as_deref(), Some(KEY));
        assert_eq!(
            good_key(&format!("{unknown}{good}{unknown}")).as_deref(),
            Some(KEY)
        );
        for bad in [
            String::new(),
            unknown.to_owned(),
            format!("{new}{valid}"),
            format!("{new}[GNUPG:] EXPKEYSIG 6ED0 Archive Key <a@b>\n{valid}"),
            format!("{new}[GNUPG:] REVKEYSIG 6ED0 Archive Key <a@b>\n{valid}"),
            format!("{good}[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 78DB Archive Key <a@b>\n"),
            format!("{good}[GNUPG:] GOODSIG 6ED0").replace(KEY, "short"),
        ] {
            assert_eq!(good_key(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_missing_gpgv_is_named_with_its_package() {
        let message = format!("{BEGIN}\n\nx\n{END}\n");
        let error = verify_with("no-such-gpgv", message.as_bytes(), Path::new("/k")).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        insta::assert_snapshot!(error, @r"
        the program `no-such-gpgv`, which checks signatures, is not on this machine

        hint: install it: `apt-get install gpgv`
        ");
    }
}
