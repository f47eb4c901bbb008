//! Asking a registry: the pull half of the OCI distribution specification 1.1, without any login of our own.

pub(crate) mod challenge;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use reqwest::blocking::Response;
use serde::Deserialize;
use stub::error::Result;

use self::challenge::Challenge;
use crate::http::{Client, Failure, is_loopback};
use crate::oci::{DOCUMENT_TYPES, Reference};

/// An answer to a request for a token is at most this many bytes long.
const TOKEN_CAP: u64 = 64 << 10;

/// A repository of a registry. Its token goes to no other host.
pub(crate) struct Repository<'a> {
    client: &'a Client,
    /// Whether requests go without TLS, as to a registry on this machine: nobody can listen in, and such an address
    /// hardly ever has a certificate.
    plain_http: bool,
    host: String,
    name: String,
    token: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    /// The registries' word for it.
    token: Option<String>,
    /// OAuth 2's word for it.
    access_token: Option<String>,
}

impl<'a> Repository<'a> {
    /// The one in `oci://registry/name:tag`.
    pub(crate) fn of(url: &str, client: &'a Client) -> Result<Self> {
        let reference = Reference::parse(url)?;
        let host = reference.host().to_owned();
        let url = Url::parse(&format!("http://{host}"));
        Ok(Self {
            client,
            plain_http: url.is_ok_and(|url| is_loopback(&url)),
            host,
            name: reference.repository,
            token: Mutex::new(None),
        })
    }

    /// Where something is: an index or a manifest among `manifests`, by digest or tag, a configuration or a layer among
    /// `blobs`, by digest, and `list` among `tags`.
    pub(crate) fn url(&self, what: &str, reference: impl fmt::Display) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!(
            "{scheme}://{}/v2/{}/{what}/{reference}",
            self.host, self.name
        )
    }

    /// As [`Client::send`], for one of its URLs. Gets a token when the registry wants one.
    pub(crate) fn send(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response, Failure> {
        let types = DOCUMENT_TYPES.join(", ");
        let mut headers = headers.to_vec();
        if url.contains("/manifests/") {
            headers.push(("accept", &types));
        }
        let answer = self.send_with_token(url, &headers)?;
        if answer.status() != 401 {
            return Ok(answer);
        }
        let token = self.log_in(&Challenge::all(answer.headers()))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        let answer = self.send_with_token(url, &headers)?;
        if answer.status() == 401 {
            return Err(self.wants_login("the image is private, or it does not exist"));
        }
        Ok(answer)
    }

    fn wants_login(&self, why: &str) -> Failure {
        let Self { host, name, .. } = self;
        Failure::Final(format!(
            "{host} wants a login for `{name}`, and the builder has none: {why}"
        ))
    }

    fn send_with_token(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response, Failure> {
        let token = self
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut headers = headers.to_vec();
        headers.extend(
            authorization
                .as_deref()
                .map(|value| ("authorization", value)),
        );
        self.client.send(url, &headers)
    }

    /// Gets the token that a registry gives out without a login.
    fn log_in(&self, challenges: &[Challenge]) -> Result<String, Failure> {
        let mut bearers = challenges.iter().filter(|c| c.is("bearer"));
        let bearer = bearers.find_map(|bearer| Some((bearer, bearer.parameter("realm")?)));
        let Some((bearer, realm)) = bearer else {
            let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
            return Err(self.wants_login(&if schemes.is_empty() {
                "it names no address that gives out tokens".to_owned()
            } else {
                format!("it accepts only {}", schemes.join(", "))
            }));
        };
        let about = format!("no token from {realm}");
        let refused = |why: String| Failure::Final(why).about(&about);
        let names = ["service", "scope"];
        let query = names.iter().filter_map(|n| Some((n, bearer.parameter(n)?)));
        let url = Url::parse_with_params(realm, query).map_err(|e| refused(e.to_string()))?;
        // Only a registry on this machine may send us to another server on this machine.
        if url.scheme() != "https" && !(self.plain_http && is_loopback(&url)) {
            return Err(Failure::Final(format!(
                "the registry wants a token from `{realm}`, which is not HTTPS"
            )));
        }
        let response = self.client.get_once(url.as_str(), &[], TOKEN_CAP);
        let response = response.map_err(|failure| failure.about(&about))?;
        match response.status {
            200 => {}
            401 | 403 => {
                return Err(self.wants_login(&format!("{realm} answers {}", response.refusal())));
            }
            _ => return Err(refused(response.refusal())),
        }
        token(&response.body).map_err(refused)
    }
}

/// The token in an answer, or the reason why there is none.
pub(crate) fn token(body: &[u8]) -> Result<String, String> {
    let token: Token = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let token = token.token.or(token.access_token);
    token.ok_or_else(|| "the answer contains none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
    use stub::digest::Digest;
    use stub::digest::Sha256;

    #[test]
    fn addresses_of_images() {
        let client = Client::new();
        let digest: Digest = Sha256::of(b"abc").into();
        let manifest = |url: &str| {
            let registry = Repository::of(url, &client).unwrap();
            registry
                .url("manifests", digest)
                .replace(&digest.to_string(), "…")
        };
        assert_eq!(
            manifest("oci://registry.k8s.io/coredns/coredns:v1.14.2"),
            "https://registry.k8s.io/v2/coredns/coredns/manifests/…"
        );
        assert_eq!(
            manifest("oci://docker.io/busybox:1.37"),
            "https://registry-1.docker.io/v2/library/busybox/manifests/…"
        );
        assert_eq!(
            manifest("oci://127.0.0.1:5000/a:1@sha256:ab"),
            "http://127.0.0.1:5000/v2/a/manifests/…"
        );
        // TLS everywhere but on this machine.
        for (host, scheme) in [
            ("127.0.0.1", "http"),
            ("127.3.2.1:5000", "http"),
            ("[::1]:5000", "http"),
            ("localhost:5000", "http"),
            ("127.0.0.1.example:5000", "https"),
            ("10.0.0.1:5000", "https"),
            ("[::2]", "https"),
        ] {
            let url = manifest(&format!("oci://{host}/a:1"));
            assert_eq!(url, format!("{scheme}://{host}/v2/a/manifests/…"));
        }
    }

    #[test]
    fn a_token_is_not_fetched_without_tls() {
        let client = Client::new();
        for (registry, realm) in [
            ("registry.example", "http://auth.example/token"),
            ("registry.example", "http://127.0.0.1:1/token"),
            ("127.0.0.1:1", "http://auth.example/token"),
        ] {
            let registry = Repository::of(&format!("oci://{registry}/a:1"), &client).unwrap();
            let mut headers = HeaderMap::new();
            let challenge = format!("Bearer realm=\"{realm}\"");
            headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            let challenges = Challenge::all(&headers);
            let Err(Failure::Final(reason)) = registry.log_in(&challenges) else {
                panic!("a token was asked for");
            };
            assert!(reason.contains(&format!("`{realm}`")), "{reason}");
        }
    }
}
