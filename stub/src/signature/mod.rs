//! Origin: the minisign signature beside a bundle, made outside of the build so that the bytes stay reproducible.
//!
//! The format is that of <https://jedisct1.github.io/minisign/#signature-format>. Only its prehashed form is
//! accepted: it is checked while the file streams by, and minisign makes no other since version 0.11.

mod replace;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fs_err::File;
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::error::{Error, Kind, Result};
use crate::text;

pub use replace::may_replace;

/// The public key of the release, as a minisign `.pub` file. Without a second line there is none yet.
const RELEASE_KEY: &str = include_str!("../../release-key.pub");

/// No minisign signature or key comes near this many bytes.
const MAX_SIZE: u64 = 1 << 14;

/// The known origin of a file. It is recorded when a bundle is installed, so that the next bundle cannot have a worse one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verdict {
    /// Its signature is good.
    Signed {
        /// Id of the key, 16 hexadecimal digits as minisign prints them.
        key: String,
        /// The signer's comment on the file; covered by the signature.
        comment: String,
    },
    /// There is no signature.
    Unsigned,
    /// There is a signature, but no key to check it with.
    Unchecked,
}

impl Verdict {
    /// Whether a signature proved who made the file.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { key, comment } => {
                write!(f, "signed by the key {key}: {}", comment.escape_debug())
            }
            Self::Unsigned => f.write_str(
                "only integrity was checked, not origin: there is no signature beside the file",
            ),
            Self::Unchecked => f.write_str(
                "only integrity was checked, not origin: there is a signature, but this program has no release key; name a key with `--key`",
            ),
        }
    }
}

/// Checks a file's signature: the one named, or `<file>.minisig` if that is there.
///
/// The key is the given one, as base64 or as the path of a minisign `.pub` file, or else the one compiled in. If
/// the caller names a signature or a key, it is an error if there is no signature to check or no key to check it with.
/// Any fault of the signature itself is [`Kind::Integrity`]. Reads the whole file, 64 KiB at a time.
pub fn check(file: &Path, signature: Option<&Path>, key: Option<&str>) -> Result<Verdict> {
    check_with(file, file, signature, key, RELEASE_KEY)
}

/// Does what [`check`] does for an open bundle: the signature lies beside its path, the bytes are those that are open.
pub fn check_bundle(
    bundle: &Bundle,
    signature: Option<&Path>,
    key: Option<&str>,
) -> Result<Verdict> {
    let content = bundle.open_path();
    check_with(bundle.path(), &content, signature, key, RELEASE_KEY)
}

fn check_with(
    file: &Path,
    content: &Path,
    signature: Option<&Path>,
    key: Option<&str>,
    release_key: &str,
) -> Result<Verdict> {
    let path = signature.map_or_else(|| beside(file), Path::to_owned);
    let key = match key {
        Some(text) => Some(Key::named(text)?),
        None => Key::compiled_in(release_key)?,
    };
    let text = match read_text(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && signature.is_none() => {
            return match key {
                Some(key) if key.named => Err(unsigned(file, &path)),
                _ => Ok(Verdict::Unsigned),
            };
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(malformed(&path)),
        text => text?,
    };
    let Some(key) = key else {
        return match signature {
            Some(_) => Err(no_key(&path)),
            None => Ok(Verdict::Unchecked),
        };
    };
    match compare(content, &text, &key)? {
        Ok(comment) => Ok(Verdict::Signed {
            key: key.id,
            comment,
        }),
        Err(Fault::Malformed) => Err(malformed(&path)),
        Err(Fault::OtherKey(made_by)) => Err(other_key(&path, &key.id, &made_by)),
        Err(Fault::Legacy) => Err(legacy(&path)),
        Err(Fault::Mismatch(comment)) => Err(mismatch(file, &path, &comment)),
    }
}

/// A fault of a signature, or of the file it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not a minisign signature.
    Malformed,
    /// Another key made it: the id of that key.
    OtherKey(String),
    /// It is of minisign's older kind, of the file itself and not of its hash.
    Legacy,
    /// The bytes are not the ones that were signed. With the comment of the signature, which proves nothing then.
    Mismatch(String),
}

/// Checks a minisign signature by a public key, in base64, for callers who explain faults in their own words. It is an
/// error if the key is not a public key, or if the file cannot be read. Reads the whole file, 64 KiB at a time.
pub fn verify(file: &Path, signature: &[u8], key: &str) -> Result<Result<(), Fault>> {
    let key = Key::decode(key, true).ok_or_else(|| {
        Error::new(Kind::Input, format!("`{key}` is no minisign public key"))
            .expected("the second line of a minisign `.pub` file, which begins with `RW`")
    })?;
    let text = text::decode_lossy(signature)?;
    Ok(compare(file, &text, &key)?.map(drop))
}

/// Checks the text of a signature. Gives its trusted comment.
fn compare(content: &Path, text: &str, key: &Key) -> Result<Result<String, Fault>> {
    let (Some(made_by), Ok(parsed)) = (second_line_id(text), Signature::decode(text)) else {
        return Ok(Err(Fault::Malformed));
    };
    if made_by != key.id {
        return Ok(Err(Fault::OtherKey(made_by)));
    }
    let Ok(mut verifier) = key.public.verify_stream(&parsed) else {
        return Ok(Err(Fault::Legacy));
    };
    let mut input = File::open(content)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            count => verifier.update(&buffer[..count]),
        }
    }
    let comment = parsed.trusted_comment().to_owned();
    Ok(match verifier.finalize() {
        Ok(()) => Ok(comment),
        Err(_) => Err(Fault::Mismatch(comment)),
    })
}

/// Where the signature of a file lies unless named: `<file>.minisig`.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Reads a small text file. Longer ones are [`io::ErrorKind::InvalidData`], as is what is not UTF-8.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)?;
    if read as u64 > MAX_SIZE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    text::decode(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A public key, its id, and where it came from.
struct Key {
    public: PublicKey,
    id: String,
    /// Whether the user named it; otherwise it is compiled in.
    named: bool,
}

impl Key {
    /// From the text of `--key`: base64, or the path of a `.pub` file.
    fn named(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Usage, format!("`--key {text}` is not a minisign public key"))
                .expected("the second line of a minisign `.pub` file, which begins with `RW`, or the path of one")
        };
        if let Some(key) = Self::decode(text, true) {
            return Ok(key);
        }
        let file = read_text(Path::new(text)).map_err(|_| wrong())?;
        file.lines()
            .nth(1)
            .and_then(|line| Self::decode(line, true))
            .ok_or_else(wrong)
    }

    fn compiled_in(file: &str) -> Result<Option<Self>> {
        let Some(line) = file.lines().nth(1) else {
            return Ok(None);
        };
        match Self::decode(line, false) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::new(
                Kind::Failed,
                "the release key compiled into this program is not a minisign public key",
            )
            .hint("name the right one with `--key`, and correct `stub/release-key.pub`")),
        }
    }

    fn decode(line: &str, named: bool) -> Option<Self> {
        let line = line.trim();
        let public = PublicKey::from_base64(line).ok()?;
        let id = key_id(line)?;
        Some(Self { public, id, named })
    }
}

/// The key id in a line of base64: after two bytes for the algorithm, eight bytes, least significant first.
fn key_id(line: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(line).ok()?;
    let id = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(id)))
}

fn second_line_id(text: &str) -> Option<String> {
    key_id(text.lines().nth(1)?)
}

fn unsigned(file: &Path, path: &Path) -> Error {
    Error::new(
        Kind::Integrity,
        format!("{}: there is no signature to check", file.display()),
    )
    .detail("looked for", path.display())
    .hint("download the `.minisig` file beside the release, or name it with `--signature`")
}

fn no_key(path: &Path) -> Error {
    Error::new(
        Kind::Usage,
        format!(
            "{}: this program has no release key to check the signature with",
            path.display()
        ),
    )
    .hint("name the publisher's public key with `--key`")
}

fn malformed(path: &Path) -> Error {
    Error::new(
        Kind::Integrity,
        format!("{}: this is not a minisign signature", path.display()),
    )
    .expected("four lines: a comment, a signature, a trusted comment, a signature of both")
    .hint("download the signature again")
}

fn other_key(path: &Path, key: &str, made_by: &str) -> Error {
    Error::new(
        Kind::Integrity,
        format!(
            "{}: the signature was made with another key",
            path.display()
        ),
    )
    .expected(format!("key {key}"))
    .found(format!("key {made_by}"))
    .hint("get the file and its signature from the project's own release page; if you trust that other key, name it with `--key`")
}

fn legacy(path: &Path) -> Error {
    Error::new(
        Kind::Integrity,
        format!(
            "{}: the signature is in minisign's legacy form, which is not accepted",
            path.display()
        ),
    )
    .expected("a prehashed signature")
    .hint("ask the publisher to sign it again with minisign 0.11 or later, or with an earlier version and `-H`")
}

/// The check cannot tell changed bytes from a signature of another file, but the signature's comment may name another
/// file. The comment is not proof, because the signature that covers it does not fit; it only helps.
fn mismatch(file: &Path, path: &Path, comment: &str) -> Error {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut words = comment.split_whitespace();
    let other = words
        .find_map(|word| word.strip_prefix("file:"))
        .filter(|named| *named != name);
    let comment = comment.escape_debug();
    match other {
        Some(_) => Error::new(
            Kind::Integrity,
            format!(
                "{}: {} is the signature of another file",
                file.display(),
                path.display()
            ),
        )
        .detail("it says", format!("`{comment}`"))
        .hint("download the signature that belongs to this file; if the file was only renamed, its bytes were changed too"),
        None => Error::new(
            Kind::Integrity,
            format!("{}: its bytes are not the ones that were signed", file.display()),
        )
        .detail("signature", path.display())
        .detail("it says", format!("`{comment}`"))
        .hint("the file was changed or damaged, or the signature is of another release: do not run it, download both again"),
    }
}

#[cfg(test)]
mod tests;
