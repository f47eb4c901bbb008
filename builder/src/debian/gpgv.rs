//! Signed text, checked by gpgv(1).

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use stub::child;
use stub::error::{Context, Error, Kind, Result};

use crate::wording::beginning;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const END: &str = "-----END PGP SIGNATURE-----";
const NEWER_KEYS: &str = "try again; if the archive's keys are newer than this machine's, `apt-get install debian-archive-keyring` brings them";

/// A text that was signed with a key in the keyring.
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
    let usable = usable(keyring, home)?;
    let mut gpgv = Command::new(program);
    gpgv
        // gpgv itself takes MD5 for weak; apt, too, no longer takes SHA-1 and RIPEMD-160.
        .args(["--weak-digest", "SHA1", "--weak-digest", "RIPEMD160"])
        .args(["--status-fd", "1", "--homedir"])
        .arg(home)
        .arg("--keyring")
        .arg(usable.as_deref().unwrap_or(keyring))
        .args(arguments)
        .env("LC_ALL", "C");
    let ran = child::try_run(&mut gpgv)?.ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!("the program `{program}`, which checks signatures, is not on this machine"),
        )
        .hint("install it: `apt-get install gpgv`")
    })?;
    let status = String::from_utf8_lossy(&ran.stdout);
    let Some(key) = good_key(&status) else {
        let said = ran.said();
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

/// The keyring in the binary form that gpgv reads, in this directory, if it is in another. Keys are published in ASCII
/// armour, several in a file with text in between; for those gpgv only says that it knows no key.
fn usable(keyring: &Path, directory: &Path) -> Result<Option<PathBuf>> {
    let content = fs_err::read(keyring)?;
    // A packet, or a keybox of GnuPG.
    if content
        .first()
        .is_some_and(|byte| byte & 0x80 != 0 && *byte != 0xff)
        || content.get(8..12) == Some(b"KBXf")
    {
        return Ok(None);
    }
    let wrong = |found: &str| {
        Error::new(
            Kind::Input,
            format!("{}: this is no keyring of OpenPGP keys", keyring.display()),
        )
        .expected("public keys, in binary or in ASCII armour")
        .found(found)
        .hint("export the keys anew: `gpg --export KEY`")
    };
    let text = stub::text::decode_lossy(&content).about(|| keyring.display())?;
    let keys = dearmoured(&text).ok_or_else(|| wrong("ASCII armour that is damaged"))?;
    if keys.is_empty() {
        return Err(wrong(&beginning(&content)));
    }
    let path = directory.join("keyring");
    fs_err::write(&path, keys)?;
    Ok(Some(path))
}

/// The public keys in a text, as RFC 9580 (6.2) has them: headers, an empty line, base64, and perhaps a checksum, which
/// nobody need check. `None` if one is damaged.
fn dearmoured(text: &str) -> Option<Vec<u8>> {
    let mut keys = Vec::new();
    for block in text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----").skip(1) {
        let (block, _) = block.split_once("-----END PGP PUBLIC KEY BLOCK-----")?;
        let lines = block.lines().map(str::trim).skip(1);
        let data = lines.skip_while(|line| !line.is_empty());
        let data: String = data.filter(|line| !line.starts_with('=')).collect();
        keys.extend(BASE64_STANDARD.decode(data).ok()?);
    }
    Some(keys)
}

/// Nothing may stand around the signed text, and there may be only one: a reader of the file would be misled by it.
fn check_frame(message: &[u8]) -> Result<()> {
    let wrong = |why: &str, found: &str| {
        let shown: String = found.chars().take(60).collect();
        Err(Error::new(Kind::Integrity, why)
            .expected(format!("one message, from `{BEGIN}` to `{END}`"))
            .found(format!("{shown:?}"))
            .hint("a proxy may have answered in the archive's place, or the archive is being updated: open the URL in a browser, or try again in a few minutes"))
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
        let keyring = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(keyring.path(), b"\x99").unwrap();
        let error = verify_with("no-such-gpgv", message.as_bytes(), keyring.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        insta::assert_snapshot!(error, @r"
        the program `no-such-gpgv`, which checks signatures, is not on this machine

        hint: install it: `apt-get install gpgv`
        ");
    }

    #[test]
    fn keyrings_that_hold_no_public_key_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = directory.path().join("keys");
        let error = |content: &[u8]| {
            fs_err::write(&keyring, content).unwrap();
            let error = usable(&keyring, directory.path()).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            error
                .to_string()
                .replace(&keyring.display().to_string(), "KEYS")
        };
        insta::assert_snapshot!(error(b"-----BEGIN PGP SIGNATURE-----\n\niQIz\n"), @r#"
        KEYS: this is no keyring of OpenPGP keys
          expected  public keys, in binary or in ASCII armour
          found     "-----BEGIN PGP SIGNATURE-----\n\niQIz"

        hint: export the keys anew: `gpg --export KEY`
        "#);
        for (content, found) in [
            (b"".as_slice(), "found     \"\""),
            (
                b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ",
                "armour that is damaged",
            ),
            (
                b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nm!\n-----END PGP PUBLIC KEY BLOCK-----\n",
                "armour that is damaged",
            ),
            (b"\xff\xfe-\0-\0", "UTF-16"),
        ] {
            let error = error(content);
            assert!(error.contains(found), "{error}");
        }
        let left: Vec<_> = fs_err::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing else was written");
    }
}
