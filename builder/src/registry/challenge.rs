//! `WWW-Authenticate`: which logins a server takes (RFC 9110, 11.6.1).
//!
//! A server may offer several, in one line or in several, in any order, so that a line is a list in which commas stand
//! between challenges as well as between the parameters of one challenge.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// One way to log in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `Bearer`, `Basic`, in the server's spelling.
    pub(crate) scheme: String,
    /// Names are in lower case.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of an answer, in its order. Those that cannot be read are left out.
    pub(super) fn all(headers: &HeaderMap) -> Vec<Self> {
        let lines = headers.get_all(WWW_AUTHENTICATE).iter();
        let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        lines.flat_map(|line| parse(&line)).collect()
    }

    /// Whether it is a scheme, by its name.
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    fn add(&mut self, name: &str, value: &str) {
        let name = name.trim().to_ascii_lowercase();
        self.parameters.push((name, unquoted(value.trim())));
    }

    /// The value of a parameter, by its name in lower case.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a line. A challenge that cannot be read is left out, and so is all behind a quote that does not end.
pub(crate) fn parse(line: &str) -> Vec<Challenge> {
    let mut all: Vec<Challenge> = Vec::new();
    let (elements, whole) = elements(line);
    for (index, element) in elements.iter().enumerate() {
        let broken = !whole && index + 1 == elements.len();
        let end = element.find(|c: char| c == '=' || c.is_ascii_whitespace());
        let (word, rest) = element.split_at(end.unwrap_or(element.len()));
        let rest = rest.trim_start();
        if let Some(value) = rest.strip_prefix('=') {
            // It belongs to the challenge that began in an element before.
            match all.last_mut() {
                Some(challenge) if !broken => challenge.add(word, value),
                _ => drop(all.pop()),
            }
            continue;
        }
        if broken {
            continue;
        }
        let mut challenge = Challenge {
            scheme: word.to_owned(),
            parameters: Vec::new(),
        };
        // Behind a scheme stands its first parameter, or base64 text of which nothing but padding follows a `=`.
        if let Some((name, value)) = rest.split_once('=')
            && !value.trim_start_matches('=').is_empty()
        {
            challenge.add(name, value);
        }
        all.push(challenge);
    }
    all
}

/// The parts of a line between commas, without the empty ones, and whether the last quote in it ends.
fn elements(line: &str) -> (Vec<&str>, bool) {
    let mut elements = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                elements.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(line[start..].trim());
    elements.retain(|element| !element.is_empty());
    (elements, !quoted)
}

/// A value without the quotes around it and the backslashes in it.
fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => text.extend(characters.next()),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().unwrap());
        }
        let one = |c: &Challenge| format!("{}{:?}", c.scheme, c.parameters);
        let all: Vec<String> = Challenge::all(&headers).iter().map(one).collect();
        all.join(" ").replace('"', "")
    }

    #[test]
    fn one_challenge_or_several_in_one_line_or_several() {
        let bearer = r#"Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push""#;
        let basic = r#"Basic realm="private, \"yes\"", charset=UTF-8"#;
        let (read_bearer, read_basic) = (
            "Bearer[(realm, https://a/t), (service, s), (scope, repository:a/b:pull,push)]",
            r"Basic[(realm, private, \yes\), (charset, UTF-8)]",
        );
        assert_eq!(read(&[bearer]), read_bearer);
        for lines in [
            &[basic, bearer][..],
            &[&format!("{basic}, {bearer}")],
            &[&format!(" ,, {basic} ,\t{bearer} , ")],
        ] {
            assert_eq!(read(lines), format!("{read_basic} {read_bearer}"));
        }
        assert_eq!(
            read(&[bearer, basic]),
            format!("{read_bearer} {read_basic}")
        );
    }

    #[test]
    fn other_schemes_and_spellings() {
        assert_eq!(
            read(&["Negotiate, NTLM TlRMTVNTUAACAA==, bEARER Realm = https://a/t , SERVICE=s"]),
            "Negotiate[] NTLM[] bEARER[(realm, https://a/t), (service, s)]"
        );
        assert_eq!(
            read(&["Digest qop=\"auth, auth-int\", Basic"]),
            "Digest[(qop, auth, auth-int)] Basic[]"
        );
        assert_eq!(read(&["Bearer"]), "Bearer[]");
    }

    #[test]
    fn mistakes_take_nothing_else_along() {
        assert_eq!(read(&[]), "");
        assert_eq!(read(&["realm=\"x\", Basic"]), "Basic[]");
        assert_eq!(read(&["Basic a=b, Bearer realm=\"x"]), "Basic[(a, b)]");
        assert_eq!(
            read(&["Basic a=b, Bearer realm=x, service=\"y"]),
            "Basic[(a, b)]"
        );
        assert_eq!(read(&["Bearer realm=\"x", "Basic"]), "Basic[]");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_left_out(line in r#"([Bb]earer )?([a-z]{0,6}[=", \\é]{0,3}){0,8}"#) {
            let _ = parse(&line);
        }

        #[test]
        fn what_is_quoted_comes_back(value in r"[ -~]{0,20}") {
            let quoted = value.replace('\\', r"\\").replace('"', "\\\"");
            let all = parse(&format!("Basic x=\"a,b\", Bearer realm=\"{quoted}\", service=s"));
            prop_assert_eq!(all.len(), 2);
            prop_assert_eq!(all[1].parameter("realm"), Some(value.as_str()));
            prop_assert_eq!(all[1].parameter("service"), Some("s"));
        }
    }
}
