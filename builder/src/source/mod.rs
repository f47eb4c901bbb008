//! Upstreams: announcements of new versions, and the digests and signatures that are published to check downloads.
//!
//! One module for each way of announcing: [`github`] (releases and tags), [`text`] (a file that holds nothing but a
//! version) and [`registry`] (the tags of an image). Debian archives have a [module](crate::debian) of their own.
//! Requests are sent one at a time, and each document is asked for once in a run.

pub(crate) mod github;
pub(crate) mod link;
pub(crate) mod registry;
mod text;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use serde::de::DeserializeOwned;
use stub::bundle::Version;
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;
use stub::text::without_mark;

use self::github::Release;
pub(crate) use self::github::{Asset, Place};
pub(crate) use self::registry::Pulled;
use crate::cache::Cache;
use crate::date;
use crate::http::{Client, failed, status_text};
use crate::recipe::VersionSource;
use crate::wording::beginning;

/// Files of digests, signatures and files with a version are at most this many bytes long.
const DOCUMENT_CAP: u64 = 1 << 20;

/// The environment variable with a token for GitHub's API. It needs no permissions.
pub const GITHUB_TOKEN: &str = "GITHUB_TOKEN";

/// The addresses of upstreams, and the token we send. Only tests use other addresses than the real ones.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// GitHub's API, without a final slash.
    pub github_api: String,
    /// A token for GitHub's API. It is sent there and nowhere else.
    pub github_token: Option<String>,
    /// Beginnings of addresses and their replacements: `("https://", "http://127.0.0.1:8000/")`.
    pub instead: Vec<(String, String)>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            github_api: "https://api.github.com".to_owned(),
            github_token: None,
            instead: Vec::new(),
        }
    }
}

impl Endpoints {
    /// The address to ask in place of a published one.
    pub(crate) fn address(&self, url: &str) -> String {
        let other = self
            .instead
            .iter()
            .find_map(|(from, to)| Some(format!("{to}{}", url.strip_prefix(from.as_str())?)));
        other.unwrap_or_else(|| url.to_owned())
    }
}

/// A version that an upstream has announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) version: Version,
    /// When, if upstream says so.
    pub(crate) published: Option<SystemTime>,
}

/// A server's headers about a download.
#[derive(Debug, Clone, Copy)]
struct Head {
    gone: bool,
    size: Option<u64>,
    modified: Option<SystemTime>,
}

/// The addresses of the files that a recipe takes of a version.
pub(crate) type Files<'a> = dyn Fn(&Version) -> Vec<String> + 'a;

/// Whether the versions announced so far are enough, so that older ones need not be asked for.
pub(crate) type Enough<'a> = dyn Fn(&[Announced]) -> bool + 'a;

/// Asks upstreams, for the length of one update.
pub(crate) struct Upstreams<'a> {
    pub(crate) client: &'a Client,
    pub(crate) endpoints: &'a Endpoints,
    /// Keeps GitHub's answers, and the files that are downloaded to check a signature.
    pub(crate) cache: &'a Cache,
    pub(crate) progress: &'a Progress,
    began: (SystemTime, Instant),
    /// By address; `None` for a document that does not exist.
    documents: RefCell<BTreeMap<String, Option<Vec<u8>>>>,
    heads: RefCell<BTreeMap<String, Head>>,
    /// By repository and tag; `None` for a tag without a release.
    releases: RefCell<BTreeMap<(String, String), Option<Release>>>,
    /// By address and further keys.
    pulled: RefCell<BTreeMap<String, Pulled>>,
}

impl<'a> Upstreams<'a> {
    pub(crate) fn new(
        client: &'a Client,
        endpoints: &'a Endpoints,
        cache: &'a Cache,
        progress: &'a Progress,
        now: SystemTime,
    ) -> Self {
        Self {
            client,
            endpoints,
            cache,
            progress,
            began: (now, Instant::now()),
            documents: RefCell::default(),
            heads: RefCell::default(),
            releases: RefCell::default(),
            pulled: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.began.0 + self.began.1.elapsed()
    }

    /// The versions an upstream has announced, of the form the recipe knows, and when each last changed: one of
    /// their `files` may have been replaced. The newest come first where there is an order, and older ones may be missing
    /// once it was `enough`.
    pub(crate) fn announced(
        &self,
        source: &VersionSource,
        files: &Files,
        enough: &Enough,
    ) -> Result<Vec<Announced>> {
        match source {
            VersionSource::Github {
                repository, allow, ..
            } => {
                // A constraint such as `~1.6.0-rc` asks for them, by the rules of `semver`.
                let previews = allow.comparators.iter().any(|c| !c.pre.is_empty());
                self.github_versions(repository, source, previews, files, enough)
            }
            VersionSource::Text { url, .. } => Ok(vec![self.text_version(url, source)?]),
            VersionSource::Registry { image, .. } => self.registry_versions(image, source),
            VersionSource::Debian { .. } => Ok(Vec::new()),
        }
    }

    /// A small document, such as a file of digests; `None` if it is not there.
    pub(crate) fn document(&self, url: &str) -> Result<Option<Vec<u8>>> {
        if let Some(known) = self.documents.borrow().get(url) {
            return Ok(known.clone());
        }
        let address = self.endpoints.address(url);
        let response = self.client.get_with(&address, &[], DOCUMENT_CAP)?;
        let document = match response.status {
            200 => Some(response.body),
            404 | 410 => None,
            _ => return Err(failed(url, response.refusal())),
        };
        self.documents
            .borrow_mut()
            .insert(url.to_owned(), document.clone());
        Ok(document)
    }

    /// The length of a download, without downloading it; `None` if the server does not say. The inner error says that
    /// there is no such file, and leaves the next step to the caller.
    pub(crate) fn size(&self, url: &str) -> Result<Result<Option<u64>>> {
        let head = self.head(url)?;
        if head.gone {
            return Ok(Err(Error::new(
                Kind::Input,
                "upstream has announced this version, but there is no such file",
            )
            .detail("url", url)
            .found(status_text(404))));
        }
        Ok(Ok(head.size))
    }

    /// When a download was put where it is, if the server says so.
    pub(crate) fn modified(&self, url: &str) -> Result<Option<SystemTime>> {
        Ok(self.head(url)?.modified)
    }

    fn head(&self, url: &str) -> Result<Head> {
        if let Some(known) = self.heads.borrow().get(url) {
            return Ok(*known);
        }
        let response = self.client.head(&self.endpoints.address(url))?;
        let header = |name| response.header(name).filter(|_| response.status == 200);
        let size = header("content-length").and_then(|l| l.parse().ok());
        let head = Head {
            gone: matches!(response.status, 404 | 410),
            // Some servers answer GET only; others give a length of 0 before they have looked at the file.
            size: size.filter(|l| *l > 0),
            modified: header("last-modified").and_then(date::mail),
        };
        self.heads.borrow_mut().insert(url.to_owned(), head);
        Ok(head)
    }
}

/// Reads a JSON answer. An error shows the beginning of an answer that is no JSON.
pub(crate) fn json<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(without_mark(body))
        .map_err(|e| {
            Error::new(Kind::Network, format!("the answer cannot be read: {e}"))
                .expected("JSON")
                .found(beginning(body))
                .hint("a proxy that wants a login may have answered in upstream's place: open the address in a browser")
        })
        .about(|| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_real_world_unless_a_test_says_otherwise() {
        let mut endpoints = Endpoints::default();
        let url = "https://dl.k8s.io/release/stable.txt";
        assert_eq!(endpoints.address(url), url);
        endpoints.instead = vec![("https://".to_owned(), "http://127.0.0.1:1/".to_owned())];
        assert_eq!(
            endpoints.address(url),
            "http://127.0.0.1:1/dl.k8s.io/release/stable.txt"
        );
        assert_eq!(endpoints.address("oci://a/b"), "oci://a/b");
    }

    #[test]
    fn an_answer_that_is_no_json_is_shown() {
        let page = b"<!DOCTYPE html><html><title>Log in</title></html>";
        let error = json::<Vec<String>>("https://example.org/x", page).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        https://example.org/x: the answer cannot be read: expected value at line 1 column 1
          expected  JSON
          found     a web page: "<!DOCTYPE html><html><title>Log in</title></html>"

        hint: a proxy that wants a login may have answered in upstream's place: open the address in a browser
        "#);
    }
}
