//! Reads text that a person or another program wrote: UTF-8, with or without a byte order mark.
//!
//! Editors and shells of other systems may put a byte order mark before a text, or write UTF-16. The mark is removed. UTF-16
//! has its own error message, because a parser would only complain about the first character.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Context as _, Error, Kind, Result};

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a text file. The error names the file.
pub fn read(path: &Path) -> Result<String> {
    decode(fs_err::read(path)?).about(|| path.display())
}

/// The text without a byte order mark. An error of [`Kind::Input`] if it is not UTF-8.
pub fn decode(bytes: Vec<u8>) -> Result<String> {
    refuse_utf16(&bytes)?;
    let text = match bytes.strip_prefix(MARK) {
        Some(rest) => rest.to_vec(),
        None => bytes,
    };
    String::from_utf8(text).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Error::new(Kind::Input, "this is not text in UTF-8")
            .expected("UTF-8")
            .found(format!("bytes that are not UTF-8 in line {line}"))
            .hint("save it as UTF-8 in an editor")
    })
}

/// Does the same as [`decode`], but replaces bytes that are not UTF-8 with a replacement character.
pub fn decode_lossy(bytes: &[u8]) -> Result<Cow<'_, str>> {
    refuse_utf16(bytes)?;
    Ok(String::from_utf8_lossy(without_mark(bytes)))
}

/// The bytes without a byte order mark at their beginning.
#[must_use]
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// The reason why programs that know only plain bytes, such as those of shadow-utils, cannot read a text; `None` if they can.
pub(crate) fn defect(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(MARK) {
        return Some("it begins with a byte order mark");
    }
    utf16(bytes).map(|_| "it is UTF-16, which the programs that use it cannot read")
}

fn utf16(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16, with a byte order mark"),
        // ASCII in UTF-16: every other byte is zero.
        [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] => Some("UTF-16"),
        _ => None,
    }
}

fn refuse_utf16(bytes: &[u8]) -> Result<()> {
    let Some(found) = utf16(bytes) else {
        return Ok(());
    };
    Err(Error::new(Kind::Input, "this is not text in UTF-8")
        .expected("UTF-8")
        .found(found)
        .hint("convert it with `iconv -f UTF-16 -t UTF-8`, or save it as UTF-8 in an editor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(encode).collect()
    }

    #[test]
    fn a_byte_order_mark_is_removed() {
        assert_eq!(decode(b"\xef\xbb\xbfa\n".to_vec()).unwrap(), "a\n");
        assert_eq!(decode_lossy(b"\xef\xbb\xbfa\xff").unwrap(), "a\u{fffd}");
        assert_eq!(decode(Vec::new()).unwrap(), "");
        assert_eq!(decode(b"a".to_vec()).unwrap(), "a");
    }

    #[test]
    fn every_form_of_utf16_has_its_own_error() {
        for encode in [u16::to_le_bytes, u16::to_be_bytes] {
            for (text, found) in [("\u{feff}schema", ", with a"), ("schema", "UTF-16\n")] {
                let bytes = encoded(text, encode);
                let error = decode_lossy(&bytes).unwrap_err().to_string();
                assert!(error.contains(found), "{error}");
                assert_eq!(decode(bytes).unwrap_err().kind(), Kind::Input);
            }
        }
    }

    #[test]
    fn the_error_names_the_line_with_bytes_that_are_not_utf8() {
        insta::assert_snapshot!(decode(b"a\nb\xe4\n".to_vec()).unwrap_err(), @r"
        this is not text in UTF-8
          expected  UTF-8
          found     bytes that are not UTF-8 in line 2

        hint: save it as UTF-8 in an editor
        ");
    }
}
