//! Text for a shell that a person pastes it into.

/// A text as one word of a shell: as it is if it has only letters, digits and characters that mean nothing to a shell,
/// else in single quotes.
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
    fn words() {
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
