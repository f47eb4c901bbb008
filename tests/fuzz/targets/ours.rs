//! Texts in our own forms, which others may have written: lockfiles, manifests, recipes and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
        format!("u7s1.{}", URL_SAFE_NO_PAD.encode(input))
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
