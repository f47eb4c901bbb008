//! The text format of `Release` and `Packages` files: stanzas of fields, deb822(5).

use std::io::BufRead;

use stub::error::{Error, Kind, Result};

/// One line of such a file. Bytes, not text: descriptions need not be UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `Name: value`, the value without the blanks around it.
    Field(&'a [u8], &'a [u8]),
    /// A continuation of the last field, without the blanks around it.
    More(&'a [u8]),
    /// The end of a stanza that had at least one field.
    End,
}

/// Reads to the end and hands over line by line; nothing is kept. An error names the line's number.
pub(super) fn read(
    mut reader: impl BufRead,
    mut each: impl FnMut(Line<'_>) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    let mut in_stanza = false;
    for number in 1_u64.. {
        line.clear();
        let length = reader
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::new(Kind::Integrity, format!("cannot be read: {e}")))?;
        let content = line.trim_ascii();
        if content.is_empty() {
            if in_stanza {
                each(Line::End)?;
            }
            in_stanza = false;
            if length == 0 {
                break;
            }
        } else if matches!(line[0], b' ' | b'\t') && in_stanza {
            each(Line::More(content))?;
        } else {
            let colon = content
                .iter()
                .position(|c| *c == b':')
                .filter(|at| *at > 0 && line[0] == content[0])
                .ok_or_else(|| {
                    let shown = String::from_utf8_lossy(&content[..content.len().min(60)]);
                    Error::new(Kind::Input, format!("line {number} is no field"))
                        .expected("`Name: value`")
                        .found(format!("{shown:?}"))
                })?;
            in_stanza = true;
            each(Line::Field(
                &content[..colon],
                content[colon + 1..].trim_ascii(),
            ))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        read(text, |line| {
            let text = |b| String::from_utf8_lossy(b).into_owned();
            lines.push(match line {
                Line::Field(name, value) => format!("{}={}", text(name), text(value)),
                Line::More(value) => format!("+{}", text(value)),
                Line::End => "end".to_owned(),
            });
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn fields_continuations_and_stanzas() {
        let text = b"\n\nA: 1\nB:\n x: y\n\tz\n \nC :  2 \r\n\n\n";
        assert_eq!(
            lines(text).unwrap(),
            ["A=1", "B=", "+x: y", "+z", "end", "C =2", "end"]
        );
        assert_eq!(lines(b"A: 1").unwrap(), ["A=1", "end"]);
        assert!(lines(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_field_is_named_with_its_line() {
        for bad in [
            "A: 1\nfoo\n",
            "A: 1\n: x\n",
            "\n A: 1\n",
            "<!doctype html>\n",
        ] {
            let error = lines(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(" is no field\n"), "{error}");
        }
        insta::assert_snapshot!(lines(b"A: 1\nfoo\n").unwrap_err(), @r#"
        line 2 is no field
          expected  `Name: value`
          found     "foo"
        "#);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = lines(&bytes);
        }
    }
}
