//! OCI registries: the tags of an image, and the index a tag points to.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use stub::bundle::Arch;
use stub::digest::{Digest, Sha256};
use stub::error::{Context, Error, Kind, Result};

use super::{Announced, Upstreams, json, link};

use crate::http::{Response, explained, failed};
use crate::oci::{self, DOCUMENT_CAP, NoPlatform, Reference, Resolved};
use crate::recipe::VersionSource;
use crate::registry::Repository;

/// How many pages of tags are read, of a thousand tags each unless the registry prefers fewer.
const PAGES: usize = 100;
/// A page is at most this many bytes long. Google's registries put every image's description into it.
const PAGE_CAP: u64 = 32 << 20;

/// The target of a tag.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    /// Of the index or manifest.
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// The architectures it has nothing for, of those that were asked for.
    pub(crate) lacks: BTreeMap<Arch, NoPlatform>,
}

#[derive(Deserialize)]
struct Tags {
    // Null when there are none, in some registries.
    tags: Option<Vec<String>>,
    /// Google's registries: images by digest.
    #[serde(default)]
    manifest: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    tag: Vec<String>,
    /// Milliseconds since 1970.
    time_uploaded_ms: Option<String>,
}

/// The versions on a page of tags.
pub(crate) fn versions(url: &str, page: &[u8], source: &VersionSource) -> Result<Vec<Announced>> {
    let page: Tags = json(url, page)?;
    let made: BTreeMap<&str, u64> = page
        .manifest
        .values()
        .filter_map(|m| Some((m, m.time_uploaded_ms.as_ref()?.parse().ok()?)))
        .flat_map(|(m, ms)| m.tag.iter().map(move |t| (t.as_str(), ms)))
        .collect();
    let announced = |tag: &String| {
        let ms = made.get(tag.as_str()).copied();
        let since = ms.map(std::time::Duration::from_millis);
        Some(Announced {
            version: source.version_of(tag)?,
            published: since.and_then(|since| std::time::SystemTime::UNIX_EPOCH.checked_add(since)),
        })
    };
    Ok(page.tags.iter().flatten().filter_map(announced).collect())
}

impl Upstreams<'_> {
    /// The versions among an image's tags. Most registries do not say when a tag was made; Google's do.
    pub(super) fn registry_versions(
        &self,
        image: &str,
        source: &VersionSource,
    ) -> Result<Vec<Announced>> {
        let registry = self.registry(&format!("oci://{image}"))?;
        let first = format!("{}?n=1000", registry.url("tags", "list"));
        let mut found = Vec::new();
        let mut url = first.clone();
        let mut pages = link::Pages::of(format!("the tags of {image}"), PAGES);
        loop {
            pages.count(&url)?;
            let response = self.ask(&registry, &url, url_is_ours(&first, &url), PAGE_CAP)?;
            if response.status != 200 {
                return Err(failed(&url, response.refusal()));
            }
            found.extend(versions(&url, &response.body, source)?);
            let Some(next) = link::next(&response) else {
                return Ok(found);
            };
            // Where the list came from, after redirects, is where it goes on.
            if !url_is_ours(&response.url, next.as_str()) {
                return Err(Error::new(
                    Kind::Network,
                    format!("{url}: the next page of the list of tags is at another host"),
                )
                .found(next)
                .hint("a proxy may have answered in the registry's place"));
            }
            url = next.to_string();
        }
    }

    /// The target of a tag, and which of these architectures it has nothing for. The documents for the others, which are
    /// all in the cache afterwards, have been verified: the first by itself, the others by the digests in it.
    pub(crate) fn pull(&self, url: &str, arches: &[Arch]) -> Result<Pulled> {
        if let Some(pulled) = self.pulled.borrow().get(url) {
            return Ok(pulled.clone());
        }
        let registry = self.registry(url)?;
        let Some(tag) = Reference::parse(url)?.tag else {
            return Err(Error::new(Kind::Input, format!("`{url}` has no tag"))
                .expected("`oci://registry/name:tag`"));
        };
        let at = registry.url("manifests", tag);
        let response = self.manifest(&registry, &at)?;
        let digest = Digest::from(Sha256::of(&response.body));
        // The specification lets a registry leave it out; a wrong one means that something was swapped on the way.
        if let Some(said) = response.header("docker-content-digest")
            && said != digest.to_string()
        {
            return Err(Error::new(
                Kind::Integrity,
                format!("{url}: the registry sent a document that does not match the digest it announced"),
            )
            .expected(said)
            .found(digest)
            .hint("try again; if the result is the same, something on the way changes the document: try from another network"));
        }
        self.cache.insert(&digest, response.body.as_slice())?;
        let mut lacks = BTreeMap::new();
        for arch in arches {
            let lack = self.pull_manifests(&registry, &digest, *arch);
            lacks.extend(lack.about(|| url)?.map(|lack| (*arch, lack)));
        }
        let pulled = Pulled {
            digest,
            size: response.body.len() as u64,
            lacks,
        };
        let known = (url.to_owned(), pulled.clone());
        self.pulled.borrow_mut().extend([known]);
        Ok(pulled)
    }

    /// Fetches the documents that lead to the manifest for an architecture, by digest. Gives the missing platform if
    /// there is no manifest.
    fn pull_manifests(
        &self,
        registry: &Repository,
        digest: &Digest,
        arch: Arch,
    ) -> Result<Option<NoPlatform>> {
        loop {
            let (part, blob) = match oci::resolve(self.cache, digest, arch)? {
                Resolved::Image(_) => return Ok(None),
                Resolved::NoPlatform(lack) => return Ok(Some(lack)),
                Resolved::Missing { part, blob } => (part, blob),
            };
            let at = registry.url(if blob { "blobs" } else { "manifests" }, part.digest);
            let response = self.manifest(registry, &at)?;
            self.cache
                .insert(&part.digest, response.body.as_slice())
                .map_err(|_| {
                    Error::new(
                        Kind::Integrity,
                        format!("the manifest for {arch} is not the one its index names"),
                    )
                    .detail("url", &at)
                    .expected(part.digest)
                    .found(part.digest.same_kind_of(&response.body))
                    .hint("try again; if the result is the same, something on the way changes the document: try from another network")
                })?;
        }
    }

    fn manifest(&self, registry: &Repository, url: &str) -> Result<Response> {
        let response = self.ask(registry, url, true, DOCUMENT_CAP)?;
        if response.status == 200 {
            return Ok(response);
        }
        Err(failed(url, response.refusal()))
    }

    /// Asks with the registry's token, or as a stranger where the token is no business of the host.
    fn ask(&self, registry: &Repository, url: &str, ours: bool, cap: u64) -> Result<Response> {
        let attempt = || {
            let answer = if ours {
                registry.send(url, &[])?
            } else {
                self.client.send(url, &[])?
            };
            self.client.read(answer, cap)
        };
        let response = self.client.retrying(attempt);
        response.map_err(|failure| explained(url, failure))
    }

    fn registry(&self, url: &str) -> Result<Repository<'_>> {
        let reference = Reference::parse(url)?;
        let (host, repository) = (reference.host(), &reference.repository);
        let address = self
            .endpoints
            .address(&format!("oci://{host}/{repository}"));
        Repository::of(&address, self.client)
    }
}

/// Whether two addresses are of the same host.
fn url_is_ours(ours: &str, other: &str) -> bool {
    match (Url::parse(ours), Url::parse(other)) {
        (Ok(ours), Ok(other)) => ours.origin() == other.origin(),
        _ => false,
    }
}
