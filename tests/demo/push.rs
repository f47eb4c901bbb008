//! Putting an image into a registry: the push half of the OCI distribution specification 1.1, as far as the demo needs
//! it. The builder itself only ever pulls.

use reqwest::Url;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use stub::error::{Error, Kind, Result};
use stub::oci::{INDEX, MANIFEST};

use super::image::{Image, digest};

/// A repository of a registry without TLS and without a login.
pub(super) struct Repository {
    client: Client,
    url: Url,
}

impl Repository {
    /// The one named at `host:port`.
    pub(super) fn new(address: &str, name: &str) -> Result<Self> {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // No proxy leads to this machine itself.
        let client = Client::builder()
            .no_proxy()
            .build()
            .map_err(|e| Error::new(Kind::Host, format!("cannot set up an HTTP client: {e}")))?;
        let url = format!("http://{address}/v2/{name}/");
        let url = Url::parse(&url)
            .map_err(|e| Error::new(Kind::Failed, format!("`{url}` is no web address: {e}")))?;
        Ok(Self { client, url })
    }

    /// Pushes an image with all its parts, and gives the number of bytes. The parts go first: a
    /// registry takes no manifest whose parts it lacks.
    pub(super) fn push(&self, image: &Image, tag: &str) -> Result<u64> {
        let part = &image.part;
        for blob in &part.blobs {
            self.blob(blob)?;
        }
        self.manifest(&digest(&part.manifest), MANIFEST, &part.manifest)?;
        self.manifest(tag, INDEX, &image.index)?;
        let sent = part.contents().map(Vec::len).sum::<usize>() + image.index.len();
        Ok(sent as u64)
    }

    fn blob(&self, content: &[u8]) -> Result<()> {
        let begun = send(self.client.post(self.at("blobs/uploads/")?), 202)?;
        let location = begun.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let location = location.and_then(|l| begun.url().join(l).ok());
        let mut location = location.ok_or_else(|| {
            let what = "the registry does not say where to upload to";
            Error::new(Kind::Network, what).expected("a `Location` header")
        })?;
        location
            .query_pairs_mut()
            .append_pair("digest", &digest(content));
        let request = self.client.put(location).body(content.to_vec());
        send(
            request.header(CONTENT_TYPE, "application/octet-stream"),
            201,
        )
        .map(drop)
    }

    fn manifest(&self, reference: &str, media_type: &str, content: &[u8]) -> Result<()> {
        let url = self.at(&format!("manifests/{reference}"))?;
        let request = self.client.put(url).body(content.to_vec());
        send(request.header(CONTENT_TYPE, media_type), 201).map(drop)
    }

    fn at(&self, path: &str) -> Result<Url> {
        let joined = self.url.join(path);
        joined.map_err(|e| Error::new(Kind::Failed, format!("`{path}` is no path: {e}")))
    }
}

/// Sends a request whose answer must have that status.
fn send(request: RequestBuilder, status: u16) -> Result<Response> {
    let response = request
        .send()
        .map_err(|e| Error::new(Kind::Network, format!("the registry does not answer: {e}")))?;
    if response.status().as_u16() == status {
        return Ok(response);
    }
    let (url, found) = (response.url().to_string(), response.status());
    let what = format!("{url}: the registry refuses the upload");
    let error = Error::new(Kind::Network, what)
        .expected(format!("status {status}"))
        .found(format!("status {found}"));
    Err(match response.text() {
        Ok(said) => error.detail("it says", said.trim()),
        Err(_) => error,
    })
}
