//! A text file that holds nothing but a version: `https://dl.k8s.io/release/stable-1.36.txt`, CRI-O's `latest-1.36.txt`.

use stub::error::{Context, Error, Kind, Result};
use stub::text::decode_lossy;

use super::{Announced, DOCUMENT_CAP, Upstreams};
use crate::http::failed;
use crate::recipe::VersionSource;
use crate::wording::beginning;

impl Upstreams<'_> {
    /// The one version in the file. How old the file is says nothing about the version: some are written anew every day.
    pub(super) fn text_version(&self, url: &str, source: &VersionSource) -> Result<Announced> {
        let address = self.endpoints.address(url);
        let response = self.client.get_with(&address, &[], DOCUMENT_CAP)?;
        if response.status != 200 {
            return Err(failed(url, response.refusal()));
        }
        let text = decode_lossy(&response.body).about(|| url)?;
        let Some(version) = source.version_of(&text) else {
            let tag = source.tag().unwrap_or_default();
            return Err(
                Error::new(Kind::Network, format!("{url}: there is no version in it"))
                    .expected(format!("`{tag}` and nothing else"))
                    .found(beginning(&response.body))
                    .hint("open the address in a browser; if upstream has changed the form, change `tag` in the recipe"),
            );
        };
        Ok(Announced {
            version,
            published: None,
        })
    }
}
