//! A server's explanation of a refusal: the sentence for people in the body of its answer.

use std::io::Read;

use serde_json::Value;

/// No more of a body than this many bytes is looked at.
const CAP: usize = 16 << 10;
/// No more of a sentence than this many characters is shown.
const LENGTH: usize = 200;

/// The status with its name, and the server's explanation: `403 Forbidden: the token has expired`.
pub(super) fn explained(status: &str, body: &[u8]) -> String {
    match sentence(body) {
        Some(said) => format!("{status}: {said}"),
        None => status.to_owned(),
    }
}

/// Reads as much of a body as is looked at. One that cannot be read says nothing.
pub(super) fn read(body: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = body.take(CAP as u64).read_to_end(&mut bytes);
    bytes
}

/// The sentence for people in the body of an error: the message in JSON, as APIs, registries and RFC 9457 have it, or in
/// XML as S3 has it, the title of a web page, or a plain text. Shortened, on one line and without control characters:
/// it comes from the network and goes to a terminal.
pub(crate) fn sentence(body: &[u8]) -> Option<String> {
    let body = stub::text::without_mark(&body[..body.len().min(CAP)]);
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    let said = match text.chars().next()? {
        '{' | '[' => in_json(&serde_json::from_str(text).ok()?)?,
        '<' => ["Message", "title", "Code"]
            .iter()
            .find_map(|name| element(text, name))?,
        // Bytes that are no text.
        _ if text.contains(['\u{fffd}', '\0']) => return None,
        _ => text.to_owned(),
    };
    let shown = shortened(&said);
    (!shown.is_empty()).then_some(shown)
}

/// `message` (GitHub and many others), `errors[].message` (registries), `detail` or `title` (RFC 9457), `details` and
/// `error_description` or `error` (servers of tokens).
fn in_json(value: &Value) -> Option<String> {
    let keys = [
        "message",
        "detail",
        "details",
        "error_description",
        "title",
        "error",
        "errors",
        "code",
    ];
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(all) => all.iter().find_map(in_json),
        Value::Object(fields) => keys.iter().find_map(|key| in_json(fields.get(*key)?)),
        _ => None,
    }
}

/// The text of the first element of this name, in upper or lower case.
fn element(text: &str, name: &str) -> Option<String> {
    // Of the same length as the text.
    let lower = text.to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    let start = lower.find(&format!("<{name}>"))? + name.len() + 2;
    let length = lower[start..].find(&format!("</{name}>"))?;
    let said = &text[start..start + length];
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let said = plain.iter().fold(said.to_owned(), |said, (code, sign)| {
        said.replace(code, sign)
    });
    (!said.trim().is_empty()).then_some(said)
}

/// One line of at most [`LENGTH`] characters, without those that steer a terminal or turn its text around.
fn shortened(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean = || words.chars().filter(|c| !c.is_control() && !turns(*c));
    let short: String = clean().take(LENGTH).collect();
    if clean().nth(LENGTH).is_some() {
        return format!("{short}…");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_found_in_whatever_form_it_has() {
        for (body, said) in [
            (
                r#"{"message":"Not Found","documentation_url":"https://a"}"#,
                "Not Found",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"pull access denied","detail":null}]}"#,
                "pull access denied",
            ),
            (
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":""}]}"#,
                "TOOMANYREQUESTS",
            ),
            (
                r#"{"type":"about:blank","title":"Gone","status":410,"detail":"It was removed."}"#,
                "It was removed.",
            ),
            (
                r#"{"error":{"code":403,"message":"Quota exceeded"}}"#,
                "Quota exceeded",
            ),
            (
                r#"{"error":"invalid_scope","error_description":"no such scope"}"#,
                "no such scope",
            ),
            (
                "\u{feff}<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access &amp; such</Message></Error>",
                "Access & such",
            ),
            (
                "<!doctype html><HTML><TITLE>Blocked\n by policy</TITLE>",
                "Blocked by policy",
            ),
            ("no healthy upstream\n", "no healthy upstream"),
        ] {
            assert_eq!(sentence(body.as_bytes()).as_deref(), Some(said), "{body}");
        }
        for nothing in [
            "",
            " \n",
            "{}",
            "[]",
            "{",
            "<html></html>",
            "<title> </title>",
            "\0\u{1}",
            "{\"message\":7}",
        ] {
            assert_eq!(sentence(nothing.as_bytes()), None, "{nothing}");
        }
        assert_eq!(sentence(b"\xff\xfe1"), None);
    }

    #[test]
    fn nothing_of_it_steers_the_terminal_and_it_is_short() {
        let body = format!("\u{1b}[31mred\u{202e}\n{}", "x".repeat(5000));
        let said = sentence(body.as_bytes()).unwrap();
        assert!(said.starts_with("[31mred xxx"), "{said}");
        assert_eq!(said.chars().count(), LENGTH + 1);
        assert!(sentence(&vec![b'x'; 1 << 20]).unwrap().len() < 1000);
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_read(text in r#"([<{\[]|title>|/|"message":|"x"|[}\]]|\PC){0,12}"#) {
            let _ = sentence(text.as_bytes());
        }
    }
}
