//! Debian packages: an `ar` archive around tar archives, as deb(5) describes it.

use std::io::{self, Read};

use stub::error::{Context, Error, Kind, Result};

use super::codec::Codec;
use super::tar::quoted;

const MAGIC: &[u8; 8] = b"!<arch>\n";

/// The name of the first member of a package.
const VERSION_MEMBER: &str = "debian-binary";

/// Opens the one `data.tar.*` of a package and gives it to `unpack`. Members that are none of deb(5)'s are ignored,
/// signatures among them: trust comes from the lockfile's digest.
pub(super) fn data(
    mut input: &mut dyn Read,
    unpack: &mut dyn FnMut(Codec, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut magic = Vec::new();
    (&mut input)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut magic)?;
    if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
        return Err(truncated());
    }
    if magic != MAGIC {
        return Err(wrong("this is not a Debian package")
            .expected("an `ar` archive, beginning with `!<arch>`"));
    }
    let mut seen: Option<String> = None;
    let mut first = true;
    while let Some(member) = Header::read(&mut input)? {
        let mut content = (&mut input).take(member.size);
        if first {
            check_version(&member, &mut content)?;
            first = false;
        } else if member.name.starts_with("data.tar") {
            if let Some(other) = seen {
                return Err(wrong("the package has two data archives")
                    .expected("one `data.tar.*`")
                    .found(format!("{} and {}", quoted(&other), quoted(&member.name))));
            }
            unpack(codec(&member.name)?, &mut content).about(|| quoted(&member.name))?;
            seen = Some(member.name);
        }
        // The content is followed by a byte of padding if its length is odd.
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(truncated());
        }
        if member.size % 2 == 1 {
            // Some writers leave out the last one.
            io::copy(&mut (&mut input).take(1), &mut io::sink())?;
        }
    }
    if seen.is_none() {
        return Err(wrong("the package is truncated, or has no data archive")
            .expected("a member `data.tar.*`"));
    }
    Ok(())
}

fn codec(name: &str) -> Result<Codec> {
    match name {
        "data.tar" => Ok(Codec::None),
        "data.tar.gz" => Ok(Codec::Gzip),
        "data.tar.bz2" => Ok(Codec::Bzip2),
        "data.tar.xz" => Ok(Codec::Xz),
        "data.tar.zst" => Ok(Codec::Zstd),
        other => Err(
            wrong("the package's data is compressed in an unknown format")
                .expected("`data.tar`, or `data.tar` with one of `.xz`, `.zst`, `.gz`, `.bz2`")
                .found(quoted(other)),
        ),
    }
}

/// The first line of the first member is the version of the format.
fn check_version(member: &Header, content: &mut dyn Read) -> Result<()> {
    let mut text = Vec::new();
    if member.name == VERSION_MEMBER {
        let most = member.size.min(64);
        content.take(most).read_to_end(&mut text)?;
        if (text.len() as u64) < most {
            return Err(truncated());
        }
    }
    if text.starts_with(b"2.0\n") {
        return Ok(());
    }
    let found = match member.name.as_str() {
        VERSION_MEMBER => {
            let text = String::from_utf8_lossy(&text);
            format!("version {}", quoted(text.trim_end()))
        }
        name => format!("the member {}", quoted(name)),
    };
    Err(wrong("this Debian package has an unknown format")
        .expected("version `2.0` in the first member, `debian-binary`")
        .found(found))
}

struct Header {
    name: String,
    size: u64,
}

impl Header {
    /// The next member's header, or nothing at the end.
    fn read(input: &mut impl Read) -> Result<Option<Self>> {
        // Name 16, time 12, owner 6, group 6, mode 8, size 10, and an end mark of 2 bytes, each filled up with spaces.
        let mut bytes = Vec::new();
        input.take(60).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() < 60 {
            return Err(truncated());
        }
        let text = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(&bytes[range]);
            text.trim_end_matches(' ').to_owned()
        };
        let size = text(48..58);
        let digits = !size.is_empty() && size.bytes().all(|c| c.is_ascii_digit());
        match size.parse() {
            Ok(size) if digits && bytes[58..] == *b"`\n" => {
                let name = text(0..16);
                // GNU ar ends names with a slash.
                let name = name.strip_suffix('/').unwrap_or(&name).to_owned();
                Ok(Some(Self { name, size }))
            }
            _ => Err(wrong("the package is damaged").found(format!(
                "{} where the header of a member should be",
                quoted(&String::from_utf8_lossy(&bytes))
            ))),
        }
    }
}

fn wrong(message: &str) -> Error {
    Error::new(Kind::Integrity, message)
        .hint("compare its size and digest with the distribution's, and check that `format` in the recipe fits the download")
}

fn truncated() -> Error {
    wrong("the package is truncated")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ar, collect, compress, tarball};
    use super::*;
    use crate::recipe::Format;

    fn take(members: &[(&str, &[u8])]) -> Result<Vec<u8>> {
        let package = ar(members);
        let taken = collect(
            |wanted, each| super::super::extract(Format::Deb, &package[..], wanted, each),
            &["usr/bin/crun"],
        );
        taken.map(|mut taken| taken.remove("usr/bin/crun").unwrap())
    }

    #[test]
    fn every_compression_of_the_data_is_read_and_other_members_are_ignored() {
        let tar = tarball(&[("./usr/bin/crun", b"crun")]);
        let kinds = [
            ("data.tar", Format::Tar),
            ("data.tar.gz/", Format::TarGz),
            ("data.tar.bz2", Format::TarBz2),
            ("data.tar.xz", Format::TarXz),
            ("data.tar.zst", Format::TarZst),
        ];
        for (name, format) in kinds {
            let taken = take(&[
                ("debian-binary", b"2.0\nmore\n"),
                ("_odd", b"x"),
                ("control.tar.xz", b"whatever"),
                (name, &compress(format, &tar)),
                ("_gpgorigin", b"signature"),
            ]);
            assert_eq!(taken.unwrap(), b"crun", "{name}");
        }
    }

    #[test]
    fn what_is_not_a_package_is_named() {
        let tar = tarball(&[("./usr/bin/crun", b"crun")]);
        let version = ("debian-binary", &b"2.0\n"[..]);
        let refusals: Vec<String> = [
            &[("control.tar", &b""[..])][..],
            &[("debian-binary", b"3.0\n")],
            &[],
            &[version, ("control.tar", b"")],
            &[version, ("data.tar.lzma", b"")],
            &[version, ("data.tar", &tar), ("data.tar.gz", &tar)],
            &[version, ("data.tar", &tar[..700])],
        ]
        .map(|members| take(members).unwrap_err().to_string())
        .into();
        insta::assert_snapshot!(refusals.join("\n\n"), @r"
        this Debian package has an unknown format
          expected  version `2.0` in the first member, `debian-binary`
          found     the member `control.tar`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        this Debian package has an unknown format
          expected  version `2.0` in the first member, `debian-binary`
          found     version `3.0`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        the package is truncated, or has no data archive
          expected  a member `data.tar.*`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        the package is truncated, or has no data archive
          expected  a member `data.tar.*`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        the package's data is compressed in an unknown format
          expected  `data.tar`, or `data.tar` with one of `.xz`, `.zst`, `.gz`, `.bz2`
          found     `data.tar.lzma`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        the package has two data archives
          expected  one `data.tar.*`
          found     `data.tar` and `data.tar.gz`

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download

        `data.tar`: the archive is truncated
          expected  the end marker of a tar archive
          found     the end of the data after 700 unpacked bytes

        hint: compare the size of the download with the publisher's, and fetch it again
        ");
    }

    #[test]
    fn a_damaged_header_is_shown() {
        let mut package = ar(&[("debian-binary", b"2.0\n"), ("data.tar", b"")]);
        let at = package.len() - 5;
        package[at] = b'-';
        let error = data(&mut &package[..], &mut |_, _| Ok(())).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the package is damaged
          found  `data.tar        0           0     0     100644  0      -  `\n` where the header of a member should be

        hint: compare its size and digest with the distribution's, and check that `format` in the recipe fits the download
        ");
    }
}
