//! Takes secrets, and names of the user, out of a text.

use crate::host::Machine;
use crate::paths;

/// In the place of a secret.
const REMOVED: &str = "[removed]";

/// The words after which a secret stands, in YAML, JSON, command lines and headers.
const KEYS: [&str; 12] = [
    "token",
    "password",
    "passwd",
    "secret",
    "bearer",
    "basic",
    "client-key-data",
    "client-certificate-data",
    "identitytoken",
    "id-token",
    "refresh-token",
    "api-key",
];

/// What is replaced.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    home: Option<String>,
    user: Option<String>,
}

impl Redaction {
    pub(super) fn of(machine: &Machine) -> Self {
        let home = paths::home_dir().map(|home| home.display().to_string());
        Self {
            home: home.filter(|home| home.len() > 1),
            // A shorter name would be found in everything.
            user: machine.user_name().filter(|user| user.len() > 2),
        }
    }

    /// The text without all that.
    pub(super) fn apply(&self, text: &str) -> String {
        let text = without_pem(text);
        let mut lines: Vec<String> = text.split('\n').map(line).collect();
        for line in &mut lines {
            if let Some(home) = &self.home {
                *line = line.replace(home.as_str(), "$HOME");
            }
            if let Some(user) = &self.user {
                *line = without_name(line, user);
            }
        }
        lines.join("\n")
    }
}

/// Replaces everything from the beginning of a PEM block to its end. One without an end goes on to the end of the text.
fn without_pem(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(BEGIN) {
        kept.push_str(before);
        kept.push_str(REMOVED);
        let after = block
            .split_once(END)
            .and_then(|(_, end)| end.split_once("-----"));
        rest = after.map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

/// One line without tokens, and without whatever follows a word that announces a secret.
fn line(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    let mut hide_next = false;
    while let Some(c) = rest.chars().next() {
        let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        if length == 0 {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
            // Only white space, quotes and the signs of assignments stand between a key and its value.
            hide_next &= " \t\"'\\:=,[".contains(c) && !(c == ',' && kept.ends_with(" ,"));
            continue;
        }
        let (word, after) = rest.split_at(length);
        rest = after;
        if hide_next || is_token(word) {
            // The value of `Authorization: Bearer …` is the word after.
            hide_next = announces(word) && hide_next;
            kept.push_str(if hide_next { word } else { REMOVED });
            continue;
        }
        hide_next = announces(word) && assigns(word, after);
        kept.push_str(word);
    }
    without_credentials(&kept)
}

/// The characters of words and of encoded bytes.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || "_-./+~".contains(c)
}

fn announces(word: &str) -> bool {
    let word = word
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('_', "-");
    KEYS.iter()
        .any(|key| word == *key || word.ends_with(&format!("-{key}")))
}

/// Whether a value follows: after a sign of assignment, or, for the words of HTTP, after a space.
fn assigns(word: &str, after: &str) -> bool {
    // `basic` is also an ordinary word.
    let http = word.eq_ignore_ascii_case("bearer") || word == "Basic";
    let option = word.starts_with("--") && after.starts_with(' ');
    let after = after.trim_start_matches(['"', '\'', '\\']);
    http || option || after.starts_with([':', '='])
}

/// A JSON web token, or a bootstrap token of Kubernetes.
fn is_token(word: &str) -> bool {
    let web = word.starts_with("eyJ") && word.len() >= 30;
    let small = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let bootstrap = word
        .split_once('.')
        .is_some_and(|(id, secret)| small(id, 6) && small(secret, 16));
    web || bootstrap
}

/// Removes the user and the password in addresses: `https://user:password@host`.
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("://");
        let host = part.find(|c: char| c == '/' || c.is_whitespace());
        let (address, _) = part.split_at(host.unwrap_or(part.len()));
        match address.rfind('@') {
            Some(at) => {
                kept.push_str(REMOVED);
                kept.push_str(&part[at..]);
            }
            None => kept.push_str(part),
        }
    }
    kept
}

/// Replaces a name where it is a whole word.
fn without_name(text: &str, name: &str) -> String {
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(name) {
        kept.push_str(before);
        let inside = kept.ends_with(in_word) || after.starts_with(in_word);
        kept.push_str(if inside { name } else { "USER" });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

    fn redacted(text: &str) -> String {
        let redaction = Redaction {
            home: Some("/home/alice".to_owned()),
            user: Some("alice".to_owned()),
        };
        redaction.apply(text)
    }

    #[test]
    fn secrets_are_taken_out() {
        for (text, expected) in [
            (
                "a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\nb",
                "a\n[removed]\nb",
            ),
            (
                r#""-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", b"#,
                r#""[removed]\n", b"#,
            ),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE", "a [removed]"),
            (
                "Authorization: Bearer abc/def+1.x next",
                "Authorization: Bearer [removed] next",
            ),
            (
                "authorization: Basic dXNlcjpwYXNz",
                "authorization: Basic [removed]",
            ),
            ("    token: s3cr3t", "    token: [removed]"),
            (
                r#"{"token":"s3cr3t","a":1}"#,
                r#"{"token":"[removed]","a":1}"#,
            ),
            (
                r#"{\"password\": \"x y\"}"#,
                r#"{\"password\": \"[removed] y\"}"#,
            ),
            ("--bearer-token=abc --v=2", "--bearer-token=[removed] --v=2"),
            (
                "client-key-data: LS0tLS1CRUdJTg==",
                "client-key-data: [removed]==",
            ),
            ("API_KEY=1234 x", "API_KEY=[removed] x"),
            ("--token abcdef --x", "--token [removed] --x"),
            ("join abcdef.0123456789abcdef now", "join [removed] now"),
            (
                "proxy https://me:pw@proxy.example:80/x http://b/",
                "proxy https://[removed]@proxy.example:80/x http://b/",
            ),
        ] {
            assert_eq!(redacted(text), expected);
        }
        assert_eq!(redacted(&format!("got {JWT}, bad")), "got [removed], bad");
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "the token has expired",
            "token review failed for system:node:n",
            "--service-account-key-file=/x/service-account.pem --v=2",
            "secrets \"x\" is forbidden: basic checks",
            "sha256:5e0b1c0f7f1c5c0b8a1f2e6b1c0f7f1c5c0b8a1f2e6b1c0f7f1c5c0b8a1f2e6b",
            "2026-11-27T02:30:00Z etcd 3.6.0 took 12.5ms",
            "https://127.0.0.1:6443/api?a=b@c",
            "malice alicea alice-x",
        ] {
            assert_eq!(redacted(text), text);
        }
        assert_eq!(
            redacted("/home/alice/x of alice: (alice)"),
            "$HOME/x of USER: (USER)"
        );
    }
}
