//! Files of digests, as upstreams publish them.

use stub::error::{Error, Kind, Result};

use crate::digest::Digest;
use crate::source::beginning;

/// The digest of a download, out of a file of digests. The lines are those of `sha256sum` (`<digest>  <name>`, the name
/// perhaps with a directory or a `*` before it) or of BSD's `SHA256 (<name>) = <digest>`; a digest alone is taken as
/// that of the download if the file is its `sidecar`. Everything else is skipped, such as the frame of a clear-signed
/// message.
pub(crate) fn find(document: &[u8], url: &str, sidecar: bool) -> Result<Digest> {
    let text = String::from_utf8_lossy(document);
    if sidecar && let Some(digest) = hex(text.trim()) {
        return Ok(digest);
    }
    let lines: Vec<(Digest, &str)> = text.lines().filter_map(line).collect();
    // The longest match first: some files list `linux/amd64/kubectl` and `linux/arm64/kubectl`.
    let whole = |name: &str| name.contains('/') && url.ends_with(&format!("/{name}"));
    let wanted = base_name(url);
    let mut found: Vec<Digest> = digests(&lines, whole);
    if found.is_empty() {
        found = digests(&lines, |name| base_name(name) == wanted);
    }
    match found[..] {
        [digest] => Ok(digest),
        [] => {
            let mut names: Vec<&str> = lines.iter().map(|(_, name)| *name).collect();
            let there = names.len();
            names.truncate(8);
            let error = Error::new(
                Kind::Input,
                format!("there is no digest of `{wanted}` in this file"),
            );
            let error = match there {
                0 => error
                    .expected("lines `<sha256 or sha512>  <name>`")
                    .found(beginning(document)),
                more @ 9.. => error.found(format!("{}, and {} more", names.join(", "), more - 8)),
                _ => error.found(names.join(", ")),
            };
            Err(error.hint("open the address in a browser; if upstream has renamed its files, change the recipe"))
        }
        [one, other, ..] => Err(Error::new(
            Kind::Integrity,
            format!("this file has two digests of `{wanted}`"),
        )
        .found(one)
        .found(other)
        .hint("ask upstream which is right")),
    }
}

fn digests(lines: &[(Digest, &str)], fits: impl Fn(&str) -> bool) -> Vec<Digest> {
    let mut found = Vec::new();
    for (digest, name) in lines {
        if fits(name) && !found.contains(digest) {
            found.push(*digest);
        }
    }
    found
}

fn line(line: &str) -> Option<(Digest, &str)> {
    let line = line.trim();
    if let Some((head, tail)) = line.split_once(") = ") {
        let (algorithm, name) = head.split_once(" (")?;
        let digest = hex(tail)?;
        let same = algorithm.eq_ignore_ascii_case(digest.algorithm());
        return same.then_some((digest, name));
    }
    let (digest, name) = line.split_once(char::is_whitespace)?;
    let name = name.trim_start();
    let name = name.strip_prefix('*').unwrap_or(name);
    Some((hex(digest)?, name.strip_prefix("./").unwrap_or(name)))
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

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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

        hint: ask upstream which is right
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"(([0-9a-f]{64} {1,2}(\*|\./)?|SHA256 \(|tool|\) = |[^a]{0,9})\n?){0,6}") {
            let _ = find(text.as_bytes(), URL, true);
        }
    }
}
