//! Parses lists as `systemctl show` prints them: words separated by blanks. Words with characters that are special to a shell
//! are in double quotes. In these, special characters have a backslash before them, and bytes that cannot be printed are
//! written as escapes (systemd, `shell_maybe_quote`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// The words of a list.
pub(super) fn words(list: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = list.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', None | Some(b'"')) => {
                let escaped = unescape(&mut bytes);
                word.get_or_insert_default().extend(escaped);
            }
            (byte, Some(end)) if byte == end => quote = None,
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (byte, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.into_iter().map(OsString::from_vec).collect()
}

/// The byte for an escape, read from after its backslash; `None` at the end of the text.
fn unescape(bytes: &mut std::iter::Peekable<std::str::Bytes>) -> Option<u8> {
    let byte = bytes.next()?;
    Some(match byte {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'x' => number(bytes, 16, 2, 0),
        b'0'..=b'7' => number(bytes, 8, 2, byte - b'0'),
        byte => byte,
    })
}

/// Reads at most `digits` further digits of a number that began with `first`.
fn number(
    bytes: &mut std::iter::Peekable<std::str::Bytes>,
    radix: u8,
    digits: u8,
    first: u8,
) -> u8 {
    let mut value = first;
    for _ in 0..digits {
        let digit = bytes
            .peek()
            .and_then(|b| char::from(*b).to_digit(u32::from(radix)))
            .and_then(|digit| u8::try_from(digit).ok());
        let Some(digit) = digit else { break };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        bytes.next();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a list, with escapes for all bytes that are not printable ASCII.
    fn shown(list: &str) -> Vec<String> {
        let words = words(list).into_iter();
        words
            .map(|word| word.as_encoded_bytes().escape_ascii().to_string())
            .collect()
    }

    #[test]
    fn words_that_systemd_quotes_are_read_unchanged() {
        for (list, expected) in [
            ("", &[][..]),
            ("/etc/systemd/user /run", &["/etc/systemd/user", "/run"]),
            // A blank, an ampersand, and characters that are special even in quotes.
            (
                r#"/etc "/home/a b/.config" /run"#,
                &["/etc", "/home/a b/.config", "/run"],
            ),
            (
                r#""/home/R&D (new)/x" /run"#,
                &["/home/R&D (new)/x", "/run"],
            ),
            (r#""/home/a\"b\$c\`d\\e""#, &[r#"/home/a\"b$c`d\\e"#]),
            (r#""/home/it's""#, &[r"/home/it\'s"]),
            // Bytes that cannot be printed, in all three kinds of escapes.
            (
                r#""/a\tb" "/a\303\251" "/a\x01b""#,
                &[r"/a\tb", r"/a\xc3\xa9", r"/a\x01b"],
            ),
            ("/home/ü", &[r"/home/\xc3\xbc"]),
            (r#""""#, &[""]),
        ] {
            assert_eq!(shown(list), expected, "{list}");
        }
    }
}
