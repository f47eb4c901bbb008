//! Quotes text in commands that a person pastes into a shell.

/// A text as one word for a shell. It is put in single quotes if it contains anything but letters, digits and characters
/// without a special meaning.
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_if_needed() {
        for (text, expected) in [
            ("u", "u"),
            ("jdoe@corp.example", "jdoe@corp.example"),
            ("", "''"),
            (r"CORP\jdoe", r"'CORP\jdoe'"),
            ("a b", "'a b'"),
            ("x;reboot", "'x;reboot'"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
