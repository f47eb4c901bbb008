//! `InRelease`: the signed list of a suite's indexes.

use std::collections::BTreeMap;
use std::time::SystemTime;

use stub::bundle::Name;
use stub::digest::Sha256;
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;

use super::apt::Archive;
use super::deb822::{self, Line};
use super::{Get, gpgv};
use crate::date;

/// That of sid is 190 kB long.
const MAX_BYTES: u64 = 8 << 20;

/// A suite's signed list.
#[derive(Debug)]
pub struct Release {
    /// The suite, as it was asked for.
    pub suite: Name,
    /// Fingerprint of the key that signed it.
    pub key: String,
    fields: BTreeMap<String, String>,
    /// Digest and length in bytes, by the path below the suite's directory.
    files: BTreeMap<String, (Sha256, u64)>,
}

/// A package index, as `InRelease` describes it, in one of the forms an archive has it in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Where in the archive it may be, the best place first.
    pub(super) paths: Vec<String>,
    /// Its compression.
    pub(super) packing: Packing,
    /// Its digest.
    pub(super) sha256: Sha256,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Its length in bytes when unpacked, if the list says it.
    pub(super) unpacked_size: Option<u64>,
}

/// The compression of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Xz,
    Gzip,
    Plain,
}

/// Fetches the `InRelease` of a suite and checks all of it: signature, origin, suite, and that it is still valid. Where
/// an archive has none, `Release` and its signature `Release.gpg` say the same.
pub fn fetch(archive: &Archive, suite: &Name, get: &Get, progress: &Progress) -> Result<Release> {
    let at = |name: &str| archive.url(&format!("dists/{suite}/{name}"));
    let (url, plain) = (at("InRelease"), at("Release"));
    let inline = get(&url, MAX_BYTES)?;
    let url = if inline.is_some() { url } else { plain };
    let read = || {
        let signed = if let Some(message) = &inline {
            gpgv::verify(message, &archive.keyring)?
        } else {
            let [text, signature] = ["Release", "Release.gpg"].map(|name| {
                let missing = || {
                    Error::new(Kind::Network, format!("the archive has no `{name}`"))
                        .detail("also missing", at("InRelease"))
                        .hint("name the address of a Debian archive with `--debian-archive URL`, and one of its suites with `--debian-suite SUITE`")
                };
                get(&at(name), MAX_BYTES)?.ok_or_else(missing)
            });
            gpgv::verify_pair(text?, &signature?, &archive.keyring)?
        };
        let release = Release::parse(&signed.text, suite, signed.key)?;
        match release.check_valid(archive.valid_at) {
            Ok(()) => {}
            Err(error) if archive.valid_at.is_none() => progress.line(format!(
                "{url}: {}; taken all the same, because apt's configuration says `Acquire::Check-Valid-Until \"false\"`",
                error.message()
            )),
            Err(error) => return Err(error),
        }
        Ok(release)
    };
    read().about(|| &url)
}

impl Release {
    /// Reads the text that was signed, and checks that it is Debian's list of the suite.
    pub(crate) fn parse(text: &[u8], suite: &Name, key: String) -> Result<Self> {
        let mut release = Self {
            suite: suite.clone(),
            key,
            fields: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let mut in_digests = false;
        deb822::read(text, |line| {
            match line {
                Line::Field(name, value) => {
                    in_digests = name == b"SHA256";
                    let text = |b| String::from_utf8_lossy(b).into_owned();
                    release.fields.insert(text(name), text(value));
                }
                Line::More(value) if in_digests => {
                    let (path, file) = parse_file(value)?;
                    release.files.insert(path, file);
                }
                Line::More(_) | Line::End => {}
            }
            Ok(())
        })?;
        let wrong = |what: &str, expected: &str, found: &str| {
            Err(Error::new(Kind::Integrity, what)
                .expected(expected)
                .found(found)
                .hint("name another archive with `--debian-archive URL`, or another suite in the recipe's `[version]`"))
        };
        if release.field("Origin") != "Debian" {
            let found = format!("Origin: {}", release.field("Origin"));
            return wrong("this is not an archive of Debian", "Origin: Debian", &found);
        }
        let names = [release.field("Codename"), release.field("Suite")];
        if !names.contains(&suite.as_str()) {
            return wrong(
                "the archive answers with another suite",
                suite.as_str(),
                &format!("{} ({})", names[0], names[1]),
            );
        }
        Ok(release)
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// That the list is not out of date at an instant, or now. Suites that do not change have no `Valid-Until`.
    fn check_valid(&self, at: Option<SystemTime>) -> Result<()> {
        let Some(until) = self.fields.get("Valid-Until") else {
            return Ok(());
        };
        let now = at.unwrap_or_else(SystemTime::now);
        match date::mail(until) {
            Some(end) if now <= end => Ok(()),
            Some(end) => {
                let days = now.duration_since(end).unwrap_or_default().as_secs() / 86400;
                Err(Error::new(
                    Kind::Integrity,
                    format!("this list of packages was valid until {until}, {days} days ago by this machine's clock"),
                )
                .hint("if `date` shows the right day, the mirror is out of date: name another with `--debian-archive URL`, or set `Acquire::Check-Valid-Until \"false\"` in apt's configuration to take it nevertheless"))
            }
            None => Err(Error::new(Kind::Input, "`Valid-Until` is not a date")
                .expected("for example `Fri, 06 Nov 2026 08:08:01 UTC`")
                .found(format!("{until:?}"))),
        }
    }

    /// The index of the component main for an architecture, by Debian's name for it, in the forms that the list names,
    /// the shortest first.
    pub(super) fn index(&self, architecture: &str) -> Result<Vec<Index>> {
        let plain = format!("main/binary-{architecture}/Packages");
        let unpacked_size = self.files.get(&plain).map(|(_, size)| *size);
        let forms = [
            (Packing::Xz, ".xz"),
            (Packing::Gzip, ".gz"),
            (Packing::Plain, ""),
        ];
        let index = |(packing, suffix)| {
            let name = format!("{plain}{suffix}");
            let (sha256, size) = *self.files.get(&name)?;
            let directory = format!("dists/{}", self.suite);
            let mut paths = vec![format!("{directory}/{name}")];
            // By digest, the index that belongs to this list is found even while the mirror is being updated; but many
            // a mirror lacks these names, whatever its list says.
            if self.field("Acquire-By-Hash") == "yes" {
                let by_hash = format!("main/binary-{architecture}/by-hash/SHA256/{sha256}");
                paths.insert(0, format!("{directory}/{by_hash}"));
            }
            Some(Index {
                paths,
                packing,
                sha256,
                size,
                unpacked_size,
            })
        };
        let indexes: Vec<Index> = forms.into_iter().filter_map(index).collect();
        if indexes.is_empty() {
            return Err(Error::new(
                Kind::Input,
                format!("the suite {} has no `{plain}`", self.suite),
            )
            .detail("architectures", self.field("Architectures"))
            .hint("name an archive that has this architecture with `--debian-archive URL`"));
        }
        Ok(indexes)
    }
}

/// A line `<digest> <length> <path>`.
fn parse_file(line: &[u8]) -> Result<(String, (Sha256, u64))> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_ascii_whitespace();
    let mut parse = || {
        let digest = words.next()?.parse().ok()?;
        let size = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), (digest, size)))
    };
    parse().ok_or_else(|| {
        Error::new(Kind::Input, "a line of `SHA256:` cannot be read")
            .expected("digest, length and path")
            .found(format!("{text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TEXT: &str = "\
Origin: Debian
Suite: unstable
Codename: sid
Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC
Acquire-By-Hash: yes
Architectures: all amd64
MD5Sum:
 not read
SHA256:
 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 50 main/binary-amd64/Packages
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 9 main/binary-amd64/Packages.xz
";

    fn parse(text: &str, suite: &str) -> Result<Release> {
        Release::parse(text.as_bytes(), &Name::new(suite).unwrap(), "K".to_owned())
    }

    #[test]
    fn the_index_is_found_by_digest_or_name() {
        let indexes = parse(TEXT, "sid").unwrap().index("amd64").unwrap();
        insta::assert_snapshot!(indexes[0].paths.join("\n"), @r"
        dists/sid/main/binary-amd64/by-hash/SHA256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        dists/sid/main/binary-amd64/Packages.xz
        ");
        assert_eq!((indexes[0].size, indexes[0].unpacked_size), (9, Some(50)));
        let packings: Vec<_> = indexes.iter().map(|i| i.packing).collect();
        assert_eq!(packings, [Packing::Xz, Packing::Plain]);
        let other = TEXT.replace("Hash: yes", "Hash: no").replace(".xz", ".gz");
        let release = parse(&other, "unstable").unwrap();
        let indexes = release.index("amd64").unwrap();
        assert_eq!(
            indexes[0].paths,
            ["dists/unstable/main/binary-amd64/Packages.gz"]
        );
        insta::assert_snapshot!(release.index("arm64").unwrap_err(), @r"
        the suite unstable has no `main/binary-arm64/Packages`
          architectures  all amd64

        hint: name an archive that has this architecture with `--debian-archive URL`
        ");
    }

    #[test]
    fn another_suite_or_publisher_is_refused() {
        insta::assert_snapshot!(parse(TEXT, "trixie").unwrap_err(), @r"
        the archive answers with another suite
          expected  trixie
          found     sid (unstable)

        hint: name another archive with `--debian-archive URL`, or another suite in the recipe's `[version]`
        ");
        let other = parse(&TEXT.replace("Debian", "Elsewhere"), "sid").unwrap_err();
        assert!(other.to_string().contains("Origin: Elsewhere"), "{other}");
        assert!(parse("", "sid").is_err());
        assert!(parse(&TEXT.replace(" 9 ", " -9 "), "sid").is_err());
    }

    #[test]
    fn an_old_list_is_not_taken() {
        let release = parse(TEXT, "sid").unwrap();
        let end = date::mail("Fri, 06 Nov 2026 08:08:01 UTC").unwrap();
        release.check_valid(Some(end)).unwrap();
        let error = release
            .check_valid(Some(end + Duration::from_hours(17 * 24)))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        insta::assert_snapshot!(error.message(), @"this list of packages was valid until Fri, 06 Nov 2026 08:08:01 UTC, 17 days ago by this machine's clock");
        assert!(
            error.to_string().contains("hint: if `date` shows"),
            "{error}"
        );
        let never = parse(&TEXT.replace("Fri, 06", "soon"), "sid").unwrap();
        assert!(never.check_valid(Some(end)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "((Origin: Debian|SHA256:|Codename: sid| [0-9a-f ]{0,80})\n|.{0,20}){0,6}") {
            let _ = parse(&text, "sid");
            let _ = date::mail(&text);
        }
    }
}
