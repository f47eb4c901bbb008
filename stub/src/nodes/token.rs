//! A token: everything that a machine must know to join a cluster. It is a secret.

use std::fmt;
use std::net::SocketAddrV4;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use super::sealed::{Key, new_key};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

/// The beginning of every token, with the version of its form.
const PREFIX: &str = "u7s1.";
/// The characters of bootstrap tokens (Kubernetes documentation, "Authenticating with Bootstrap Tokens").
const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// How many characters the two parts of a bootstrap token have.
const LENGTHS: (usize, usize) = (6, 16);

/// The names of our annotations on the secret of a token.
pub(crate) struct Annotations {
    /// The name of the node that the token is for.
    pub node: &'static str,
    /// Whether several machines may use it.
    pub reusable: &'static str,
    /// The name of the node that has used it.
    pub used_by: &'static str,
}

/// See [`Annotations`].
pub(crate) const OURS: Annotations = Annotations {
    node: "usernetes/node",
    reusable: "usernetes/reusable",
    used_by: "usernetes/used-by",
};

/// A token. It is written as `u7s1.` and JSON in base64url.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the API servers are.
    #[serde(rename = "e")]
    pub endpoints: Vec<SocketAddrV4>,
    /// The digest of the public key of the cluster's authority (DER `SubjectPublicKeyInfo`).
    #[serde(rename = "c")]
    pub authority: Sha256,
    /// The public part of the bootstrap token.
    #[serde(rename = "i")]
    pub id: String,
    /// Its secret part.
    #[serde(rename = "s")]
    pub secret: String,
    /// For a machine that becomes another control plane: the key of the cluster's authorities, which are encrypted, as base64.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Token {
    /// A new token.
    pub fn new(endpoints: Vec<SocketAddrV4>, authority: Sha256) -> Result<Self> {
        Ok(Self {
            endpoints,
            authority,
            id: random(LENGTHS.0)?,
            secret: random(LENGTHS.1)?,
            key: None,
        })
    }

    /// Makes it one for another control plane. Gives its key.
    pub(super) fn with_key(mut self) -> Result<(Self, Key)> {
        let key = new_key()?;
        self.key = Some(URL_SAFE_NO_PAD.encode(key));
        Ok((self, key))
    }

    /// Whether a machine becomes another control plane with it.
    #[must_use]
    pub fn is_for_control_plane(&self) -> bool {
        self.key.is_some()
    }

    /// The key, if it has one that can be read.
    pub(super) fn read_key(&self) -> Option<Key> {
        let key = URL_SAFE_NO_PAD.decode(self.key.as_ref()?).ok()?;
        key.try_into().ok()
    }

    /// What the API server takes it for: a bootstrap token.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

/// Random characters.
fn random(length: usize) -> Result<String> {
    let mut text = String::new();
    while text.len() < length {
        let mut bytes = [0; 32];
        getrandom(&mut bytes, GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        // 252 is the largest multiple of 36 in a byte, so every character is as likely as any other.
        let fair = bytes.into_iter().filter(|byte| *byte < 252);
        text.extend(fair.map(|byte| char::from(CHARACTERS[usize::from(byte) % CHARACTERS.len()])));
    }
    text.truncate(length);
    Ok(text)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

/// The secret part is left out.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} for {:?}", self.id, self.endpoints)
    }
}

impl FromStr for Token {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        // The text itself is a secret and does not belong into a message.
        let wrong = |found: &str| {
            Error::new(Kind::Input, "this is not a token")
                .expected(format!("the line that `usernetes token create` prints; it begins with `{PREFIX}`"))
                .found(found)
                .hint("copy the whole line; make another token with `usernetes token create` if it is lost")
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(wrong("nothing"));
        }
        let coded = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| wrong("a text that begins otherwise"))?;
        let json = URL_SAFE_NO_PAD.decode(coded);
        let json = json.map_err(|_| wrong("a damaged or cut text"))?;
        let token: Self =
            serde_json::from_slice(&json).map_err(|_| wrong("a damaged or cut text"))?;
        let good = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| CHARACTERS.contains(&byte))
        };
        if !good(&token.id, LENGTHS.0) || !good(&token.secret, LENGTHS.1) {
            return Err(wrong("a token with another form of secret"));
        }
        if token.key.is_some() && token.read_key().is_none() {
            return Err(wrong("a token with another form of key"));
        }
        let reached =
            |endpoint: &SocketAddrV4| endpoint.port() != 0 && !endpoint.ip().is_unspecified();
        if token.endpoints.is_empty() || !token.endpoints.iter().all(reached) {
            return Err(wrong("a token without the address of an API server"));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new(vec!["192.0.2.7:6443".parse().unwrap()], Sha256::of(b"key")).unwrap()
    }

    #[test]
    fn a_token_survives_being_written() {
        let token = token();
        let text = token.to_string();
        assert!(text.starts_with("u7s1."), "{text}");
        assert_eq!(format!(" {text}\n").parse::<Token>().unwrap(), token);
        assert!(!format!("{token:?}").contains(&token.secret));
        assert_ne!(token.secret, super::random(16).unwrap());
        assert!(!token.is_for_control_plane());
        let (token, key) = token.with_key().unwrap();
        let read: Token = token.to_string().parse().unwrap();
        assert!(read.is_for_control_plane());
        assert_eq!(read.read_key(), Some(key));
        let short = Token {
            key: Some("AAAA".to_owned()),
            ..token
        };
        assert!(short.to_string().parse::<Token>().is_err());
    }

    /// Found while `tests/fuzz` was written.
    #[test]
    fn a_token_leads_to_a_server() {
        for endpoint in ["192.0.2.7:0", "0.0.0.0:6443"] {
            let mut token = token();
            token.endpoints.push(endpoint.parse().unwrap());
            let error = token.to_string().parse::<Token>().unwrap_err().to_string();
            assert!(error.contains("the address of an API server"), "{error}");
        }
    }

    #[test]
    fn other_texts_are_refused_and_not_repeated() {
        let cut = token().to_string();
        let cut = &cut[..cut.len() - 7];
        for text in ["", "abc", "u7s1.", "u7s1.!!!", cut] {
            let error = text.parse::<Token>().unwrap_err().to_string();
            assert!(error.starts_with("this is not a token"), "{error}");
            assert!(
                text.is_empty() || text.len() < 6 || !error.contains(text),
                "{error}"
            );
        }
    }
}
