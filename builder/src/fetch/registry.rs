//! Asking a registry: the pull half of the OCI distribution specification 1.1, without any login of our own.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use reqwest::blocking::Response;
use reqwest::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use stub::error::{Error, Kind, Result};

use crate::http::{Client, Failure};
use crate::oci::DOCUMENT_TYPES;

/// An answer to a request for a token is at most this many bytes long.
const TOKEN_CAP: u64 = 64 << 10;

/// A repository of a registry. Its token goes to no other host.
pub(crate) struct Registry<'a> {
    client: &'a Client,
    /// Whether it is spoken to without TLS, as one at a loopback address is: nobody listens in between, and hardly
    /// anybody has a certificate for such an address.
    plain_http: bool,
    host: String,
    repository: String,
    token: Mutex<Option<String>>,
}

/// What a registry wants of a client it does not know: `Bearer realm="…",service="…",scope="…"`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    query: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Token {
    /// The registries' word for it.
    token: Option<String>,
    /// OAuth 2's word for it.
    access_token: Option<String>,
}

impl<'a> Registry<'a> {
    /// The one in `oci://registry/name:tag`.
    pub(crate) fn of(url: &str, client: &'a Client) -> Result<Self> {
        let parts = url.strip_prefix("oci://").and_then(|r| r.split_once('/'));
        let parts = parts.map(|(host, name)| {
            let name = name.split_once('@').map_or(name, |(name, _)| name);
            (host, name.split_once(':').map_or(name, |(name, _)| name))
        });
        let Some((host, name)) = parts.filter(|(host, name)| !host.is_empty() && !name.is_empty())
        else {
            return Err(Error::new(
                Kind::Input,
                format!("`{url}` is not the address of an image"),
            )
            .expected("`oci://registry/name:tag`"));
        };
        Ok(Self {
            client,
            plain_http: is_loopback(&format!("http://{host}")),
            // Docker Hub's registry is not where its name says.
            host: if host == "docker.io" {
                "registry-1.docker.io"
            } else {
                host
            }
            .to_owned(),
            repository: name.to_owned(),
            token: Mutex::new(None),
        })
    }

    /// Where something is: an index or a manifest among `manifests`, by digest or tag, a configuration or a layer among
    /// `blobs`, by digest, and `list` among `tags`.
    pub(crate) fn url(&self, what: &str, reference: impl fmt::Display) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!(
            "{scheme}://{}/v2/{}/{what}/{reference}",
            self.host, self.repository
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
        let challenge = answer.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge
            .and_then(|c| Challenge::parse(c.to_str().ok()?))
            .ok_or_else(|| {
                Failure::Final("the registry wants a login we do not know".to_owned())
            })?;
        let token = self.log_in(&challenge)?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        let answer = self.send_with_token(url, &headers)?;
        if answer.status() == 401 {
            return Err(Failure::Final(
                "the registry does not let strangers have this image".to_owned(),
            ));
        }
        Ok(answer)
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

    fn log_in(&self, challenge: &Challenge) -> Result<String, Failure> {
        let realm = &challenge.realm;
        if !(realm.starts_with("https://") || self.plain_http && is_loopback(realm)) {
            return Err(Failure::Final(format!(
                "the registry wants a token from `{realm}`, which is not HTTPS"
            )));
        }
        let about = format!("no token from {realm}");
        let refused = |why: String| Failure::Final(why).about(&about);
        let url = reqwest::Url::parse_with_params(realm, &challenge.query)
            .map_err(|e| refused(e.to_string()))?;
        let response = self.client.get_once(url.as_str(), &[], TOKEN_CAP);
        let response = response.map_err(|failure| failure.about(&about))?;
        if response.status != 200 {
            return Err(refused(response.refusal()));
        }
        let token: Token =
            serde_json::from_slice(&response.body).map_err(|e| refused(e.to_string()))?;
        let token = token.token.or(token.access_token);
        token.ok_or_else(|| refused("the answer has none in it".to_owned()))
    }
}

/// Whether a web address leads to this machine, and says so itself: what a name like `localhost` stands for is not
/// asked.
fn is_loopback(url: &str) -> bool {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    let address = host.map(|host| host.trim_matches(['[', ']']).parse::<IpAddr>());
    address.is_some_and(|address| address.is_ok_and(|a| a.is_loopback()))
}

impl Challenge {
    /// Reads the value of `WWW-Authenticate` (RFC 9110, 11.6.1), if it is a `Bearer` challenge with a realm.
    fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut realm = None;
        let mut query = Vec::new();
        while let Some((name, value)) = rest.split_once('=') {
            let name = name.trim_start_matches([',', ' ', '\t']).trim_end();
            let value = value.trim_start();
            let (value, after) = match value.strip_prefix('"') {
                // Commas are part of a quoted value: `scope="repository:pause:pull,push"`.
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                name @ ("service" | "scope") => query.push((name.to_owned(), value.to_owned())),
                _ => {}
            }
            rest = after;
        }
        Some(Self {
            realm: realm?,
            query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use stub::digest::Sha256;

    #[test]
    fn addresses_of_images() {
        let client = Client::new();
        let digest: Digest = Sha256::of(b"abc").into();
        let manifest = |url: &str| {
            let registry = Registry::of(url, &client).unwrap();
            registry
                .url("manifests", digest)
                .replace(&digest.to_string(), "…")
        };
        assert_eq!(
            manifest("oci://registry.k8s.io/coredns/coredns:v1.14.2"),
            "https://registry.k8s.io/v2/coredns/coredns/manifests/…"
        );
        assert_eq!(
            manifest("oci://docker.io/flannel/flannel:v1"),
            "https://registry-1.docker.io/v2/flannel/flannel/manifests/…"
        );
        assert_eq!(
            manifest("oci://127.0.0.1:5000/a:1@sha256:ab"),
            "http://127.0.0.1:5000/v2/a/manifests/…"
        );
        // TLS everywhere but at loopback addresses.
        for (host, scheme) in [
            ("127.0.0.1", "http"),
            ("127.3.2.1:5000", "http"),
            ("[::1]:5000", "http"),
            ("localhost:5000", "https"),
            ("127.0.0.1.example:5000", "https"),
            ("10.0.0.1:5000", "https"),
            ("[::2]", "https"),
        ] {
            let url = manifest(&format!("oci://{host}/a:1"));
            assert_eq!(url, format!("{scheme}://{host}/v2/a/manifests/…"));
        }
        for bad in ["oci://", "oci://host", "oci:///name", "https://host/name"] {
            let error = Registry::of(bad, &client).err().unwrap().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn challenges() {
        let parsed = Challenge::parse(
            r#"Bearer realm="https://auth.example/token", service="registry.example",scope="repository:a/b:pull,push""#,
        )
        .unwrap();
        assert_eq!(parsed.realm, "https://auth.example/token");
        let query: Vec<_> = parsed
            .query
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            query,
            [
                ("service", "registry.example"),
                ("scope", "repository:a/b:pull,push")
            ]
        );
        assert!(Challenge::parse("bearer realm=https://a/t,service=b").is_some());
        for bad in [
            "",
            "Bearer",
            "Basic realm=\"x\"",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
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
            let registry = Registry::of(&format!("oci://{registry}/a:1"), &client).unwrap();
            let challenge = Challenge::parse(&format!("Bearer realm=\"{realm}\"")).unwrap();
            let Err(Failure::Final(reason)) = registry.log_in(&challenge) else {
                panic!("a token was asked for");
            };
            assert!(reason.contains(&format!("`{realm}`")), "{reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_challenge_is_read_or_refused(text in r#"([Bb]earer )?([a-z]{0,6}[=", ]{0,3}){0,8}"#) {
            let _ = Challenge::parse(&text);
        }
    }
}
