//! Files of digests, as upstreams publish them.

use stub::digest::Digest;
use stub::error::{Error, Kind, Result};
use stub::text::decode_lossy;

use crate::address::path;
use crate::wording::beginning;

/// The digest of a download, out of a file of digests: the strongest, where it has several by different algorithms.
///
/// The lines are those of `sha256sum` (`<digest>  <name>`, the name perhaps with a directory or a `*` before it), of its
/// `--tag` and BSD's `sha256` (`SHA256 (<name>) = <digest>`), or of `openssl dgst` (`SHA2-256(<name>)= <digest>`); a
/// digest alone is taken as that of the download if the file is its `sidecar`. Everything else is skipped, such as
/// the frame of a clear-signed message, and digests by other algorithms.
pub(crate) fn find(document: &[u8], url: &str, sidecar: bool) -> Result<Digest> {
    let text = decode_lossy(document)?;
    if sidecar && let Some(digest) = hex(text.trim()) {
        return Ok(digest);
    }
    let lines: Vec<(Digest, String)> = text.lines().filter_map(line).collect();
    let path = path(url);
    let wanted = base_name(&path);
    // The longest match first: some files list `linux/amd64/kubectl` and `linux/arm64/kubectl`.
    let whole = |name: &str| name.contains('/') && path.ends_with(&format!("/{name}"));
    let mut found: Vec<Digest> = digests(&lines, whole);
    if found.is_empty() {
        found = digests(&lines, |name| base_name(name) == wanted);
    }
    // Digests by different algorithms say nothing about each other.
    found.sort_by_key(|digest| std::cmp::Reverse(digest.algorithm()));
    let mut pairs = found.windows(2);
    if let Some(pair) = pairs.find(|pair| pair[0].algorithm() == pair[1].algorithm()) {
        return Err(contradictory(wanted, pair[0], pair[1]));
    }
    let strongest = found.first().copied();
    strongest.ok_or_else(|| not_there(wanted, &lines, document))
}

fn not_there(wanted: &str, lines: &[(Digest, String)], document: &[u8]) -> Error {
    let names: Vec<&str> = lines
        .iter()
        .take(8)
        .map(|(_, name)| name.as_str())
        .collect();
    let error = Error::new(
        Kind::Input,
        format!("there is no digest of `{wanted}` in this file"),
    );
    let error = match lines.len() {
        0 => error
            .expected("lines `<sha256 or sha512>  <name>`")
            .found(beginning(document)),
        all @ 9.. => error.found(format!("{}, and {} more", names.join(", "), all - 8)),
        _ => error.found(names.join(", ")),
    };
    error
        .hint("open the address in a browser; if upstream has renamed its files, change the recipe")
}

fn contradictory(wanted: &str, one: Digest, other: Digest) -> Error {
    Error::new(
        Kind::Integrity,
        format!("this file has two digests of `{wanted}`"),
    )
    .found(one)
    .found(other)
    .hint("ask upstream which one is right")
}

fn digests(lines: &[(Digest, String)], fits: impl Fn(&str) -> bool) -> Vec<Digest> {
    let mut found = Vec::new();
    for (digest, name) in lines {
        if fits(name) && !found.contains(digest) {
            found.push(*digest);
        }
    }
    found
}

fn line(line: &str) -> Option<(Digest, String)> {
    let line = line.trim();
    // A backslash says that the name is escaped.
    let (line, escaped) = match line.strip_prefix('\\') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (digest, name) = tagged(line).or_else(|| plain(line))?;
    let name = if escaped {
        unescaped(name)
    } else {
        name.to_owned()
    };
    Some((digest, name.strip_prefix("./").unwrap_or(&name).to_owned()))
}

/// `SHA256 (<name>) = <digest>` or `SHA2-256(<name>)= <digest>`.
fn tagged(line: &str) -> Option<(Digest, &str)> {
    let (head, digest) = line
        .rsplit_once(")= ")
        .or_else(|| line.rsplit_once(") = "))?;
    let (algorithm, name) = head.split_once('(')?;
    let digest = hex(digest.trim())?;
    let algorithm = algorithm
        .trim_end()
        .to_ascii_lowercase()
        .replacen("sha2-", "sha", 1);
    // Others are as long: BLAKE2b, SHA3-256, SHA512/256.
    (algorithm == digest.algorithm()).then_some((digest, name))
}

/// `<digest>  <name>` or `<digest> *<name>`.
fn plain(line: &str) -> Option<(Digest, &str)> {
    let (digest, name) = line.split_once(char::is_whitespace)?;
    let name = name.trim_start();
    Some((hex(digest)?, name.strip_prefix('*').unwrap_or(name)))
}

/// A name as `sha256sum` escapes it.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next().map(|c| match c {
                'n' => '\n',
                'r' => '\r',
                other => other,
            })),
            other => plain.push(other),
        }
    }
    plain
}

/// A digest by its length.
fn hex(text: &str) -> Option<Digest> {
    let algorithm = match text.len() {
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    format!("{algorithm}:{}", text.to_ascii_lowercase())
        .parse()
        .ok()
}

/// The last part of a path. Windows separates the parts by `\`.
fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stub::digest::Sha256;

    const URL: &str = "https://example.org/v1/linux/amd64/tool";

    fn a() -> String {
        Sha256::of(b"a").to_string()
    }

    fn b() -> String {
        Sha256::of(b"b").to_string()
    }

    fn found(text: &str) -> Result<String> {
        find(text.as_bytes(), URL, true).map(|d| d.hex())
    }

    #[test]
    fn every_form_upstreams_use_is_read() {
        let (a, b) = (a(), b());
        for text in [
            format!("{a}\n"),
            a.to_ascii_uppercase(),
            format!("{a}  tool\n"),
            format!("{b}  other\n{a} *tool\n"),
            format!("{a}  ./tool\n{b}  ./tool.tar\n"),
            format!("{a}  _output/linux/amd64/tool"),
            format!("{b}  linux/arm64/tool\n{a}  linux/amd64/tool\n"),
            format!("SHA256 (tool) = {a}\nSHA256 (other) = {b}\n"),
            format!("SHA2-256(dist/tool)= {a}\r\nSHA3-256(dist/tool)= {b}\r\n"),
            format!("\u{feff}{a}  tool\r\n{b}  other\r\n"),
            format!("{b} *dist\\other.exe\r\n{a} *dist\\tool\r\n"),
            format!("\\{b}  to\\\\ol\n{a}  tool\n"),
            format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{b}  other\n{a} *tool\n-----BEGIN PGP SIGNATURE-----\n\niQIz\n=x\n-----END PGP SIGNATURE-----\n"
            ),
        ] {
            assert_eq!(found(&text).unwrap(), a, "{text}");
        }
        let long = Digest::Sha512([0xab; 64]);
        let text = format!("{}  tool", long.hex());
        assert_eq!(find(text.as_bytes(), URL, false).unwrap(), long);
    }

    #[test]
    fn digests_by_different_algorithms_do_not_contradict_each_other() {
        let long = |byte| Digest::Sha512([byte; 64]);
        let (a, hex) = (a(), |byte| long(byte).hex());
        for text in [
            format!("{a}  tool\n{}  tool\n", hex(1)),
            format!("SHA512 (tool) = {}\nSHA256 (tool) = {a}\n", hex(1)),
            format!(
                "MD5 (tool) = 00\nBLAKE2b (tool) = {}\n{}  tool\n",
                hex(2),
                hex(1)
            ),
        ] {
            assert_eq!(find(text.as_bytes(), URL, true).unwrap(), long(1), "{text}");
        }
        // Two different digests by one algorithm do.
        for text in [
            format!("{a}  tool\n{}  tool\n{}  tool\n", hex(1), hex(2)),
            format!("{a}  tool\n{}  tool\n{}  tool\n", b(), hex(1)),
        ] {
            let error = find(text.as_bytes(), URL, true).unwrap_err();
            assert_eq!(error.kind(), Kind::Integrity);
        }
    }

    #[test]
    fn names_are_those_of_files_and_not_of_addresses() {
        let a = a();
        let find = |text: &str, url: &str| find(text.as_bytes(), url, false);
        for (text, url) in [
            (
                format!("{a}  tool+1 ~x\n"),
                "https://a/v1%2B1/tool%2B1%20~x",
            ),
            (
                format!("{a}  v1+1/tool\n{}  v2/tool\n", b()),
                "https://a/v1%2B1/tool?raw=1#top",
            ),
            (format!("\\{a}  a\\nb\n"), "https://a/a%0Ab"),
            (format!("\\SHA256 (a\\\\b) = {a}\n"), "https://a/a%5Cb"),
        ] {
            assert_eq!(find(&text, url).unwrap().hex(), a, "{text}");
        }
    }

    #[test]
    fn a_file_in_utf16_is_named() {
        let utf16: Vec<u8> = format!("{}  tool\n", a())
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let error = find(&utf16, URL, false).unwrap_err().to_string();
        assert!(error.contains("found     UTF-16"), "{error}");
    }

    #[test]
    fn a_digest_without_a_name_is_for_sidecars_only() {
        assert!(find(a().as_bytes(), URL, false).is_err());
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_said() {
        let (a, b) = (a(), b());
        let shown = |text: &str| {
            found(text)
                .unwrap_err()
                .to_string()
                .replace(&a, "AA")
                .replace(&b, "BB")
        };
        insta::assert_snapshot!(shown(&format!("{a}  tool-arm64\n")), @r"
        there is no digest of `tool` in this file
          found  tool-arm64

        hint: open the address in a browser; if upstream has renamed its files, change the recipe
        ");
        insta::assert_snapshot!(shown("<html>Not here</html>"), @r#"
        there is no digest of `tool` in this file
          expected  lines `<sha256 or sha512>  <name>`
          found     a web page: "<html>Not here</html>"

        hint: open the address in a browser; if upstream has renamed its files, change the recipe
        "#);
        insta::assert_snapshot!(shown(&format!("{a}  tool\n{b}  dir/tool\n")), @r"
        this file has two digests of `tool`
          found  sha256:AA
          found  sha256:BB

        hint: ask upstream which one is right
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"(([0-9a-f]{64} {1,2}(\*|\./)?|SHA256 \(|tool|\) = |[^a]{0,9})\n?){0,6}") {
            let _ = find(text.as_bytes(), URL, true);
        }
    }
}
