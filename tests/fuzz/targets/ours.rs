//! Texts in our own forms, which others may have written: lockfiles, manifests, recipes and tokens.

use builder::lockfile::Lockfile;
use builder::recipe::Recipe;
use stub::bundle::Manifest;
use stub::nodes::Token;

/// A lockfile that is read can be written and read again.
pub(crate) fn lockfile(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else {
        return;
    };
    if let Ok(lockfile) = Lockfile::parse(input) {
        let text = lockfile.to_text().expect("it was read");
        let again = Lockfile::parse(&text).expect("it was written by us");
        assert_eq!(again.to_text().expect("it was read"), text);
    }
}

/// A manifest has one form only, so that a bundle's id names one manifest.
pub(crate) fn manifest(input: &[u8]) {
    if let Ok(manifest) = Manifest::decode(input) {
        assert_eq!(manifest.encode(), input);
        drop(manifest.installed_components());
    }
}

/// A recipe is read or refused.
pub(crate) fn recipe(input: &[u8]) {
    if let Ok(input) = str::from_utf8(input) {
        drop(Recipe::parse(input));
    }
}

/// A token comes back as it was, and an error does not repeat a secret. What is not in the form is put into it.
pub(crate) fn token(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else {
        return;
    };
    let text = if input.starts_with('{') {
        format!("u7s1.{}", base64url(input.as_bytes()))
    } else {
        input.to_owned()
    };
    let token = match text.parse::<Token>() {
        Ok(token) => token,
        Err(error) => {
            let shown = error.to_string();
            let word = text.trim();
            assert!(word.len() < 12 || !shown.contains(word), "{shown}");
            return;
        }
    };
    let again: Token = token.to_string().parse().expect("it was written by us");
    assert_eq!(again, token);
    // It goes into the head of a request.
    let bearer = token.bearer();
    assert!(
        bearer
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.')
    );
    assert!(!token.endpoints.is_empty());
    assert!(token.endpoints.iter().all(|endpoint| endpoint.port() != 0));
}

/// Base64 for addresses, without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes(three);
        let digits = (0..=chunk.len()).map(|n| (number >> (18 - 6 * n)) & 63);
        text.extend(digits.filter_map(|d| Some(char::from(*DIGITS.get(d as usize)?))));
    }
    text
}
