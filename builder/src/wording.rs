//! Words for messages.

/// `1 file`, `2 files`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{s}")
}

/// The beginning of a document, for messages.
pub(crate) fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let lower = text.get(..9).unwrap_or_default().to_ascii_lowercase();
    let page = lower.starts_with("<html") || lower.starts_with("<!doctype");
    let shown: String = text.chars().take(60).collect();
    format!("{}{shown:?}", if page { "a web page: " } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_and_several_things() {
        assert_eq!(counted(0, "file"), "0 files");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(2, "file"), "2 files");
    }
}
