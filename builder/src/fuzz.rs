//! Opens private parsers to `tests/fuzz`. Only with the feature `fuzz`.

use std::collections::BTreeSet;

use stub::bundle::{Arch, Name};
use stub::digest::{Digest, Sha256};
use stub::error::{Error, Result};

use crate::oci::document::{self, Parsed};
use crate::recipe::VersionSource;
use crate::registry::challenge;
use crate::source::github::Release;
use crate::source::{self, Place, link};
use crate::{debian, lock, registry};

/// Where answers come from.
const URL: &str = "https://localhost/v1/a";

/// Reads Debian's index of packages. Gives the error.
#[must_use]
pub fn packages(text: &[u8]) -> Option<Error> {
    let wanted = BTreeSet::from(["etcd-server", "a"]);
    debian::packages::parse(text, "amd64", &wanted).err()
}

/// Reads Debian's list of the indexes of a suite. Gives the error.
#[must_use]
pub fn release(text: &[u8]) -> Option<Error> {
    let suite = "stable".parse::<Name>().ok()?;
    debian::release::Release::parse(text, &suite, String::new()).err()
}

/// Reads a document of an image as each kind of document. Gives the number of its parts.
///
/// # Panics
/// If entries of an index are chosen twice, which is a fault.
pub fn image(bytes: &[u8]) -> Result<usize> {
    let digest = Digest::from(Sha256::of(bytes));
    drop(document::config_platform(bytes));
    Ok(match document::parse(bytes, &digest)?.1 {
        Parsed::Index(manifests) => {
            let count = manifests.len();
            let (fit, others) = document::candidates(manifests, Arch::X86_64);
            assert!(fit.len() + others.len() <= count);
            count
        }
        Parsed::Manifest { layers, .. } => layers.len(),
    })
}

/// Looks for a digest in a file of digests.
pub fn checksums(text: &[u8], sidecar: bool) -> Result<Digest> {
    lock::checksums::find(text, URL, sidecar)
}

/// The texts in a line that says how to log in.
#[must_use]
pub fn challenges(line: &str) -> Vec<String> {
    let all = challenge::parse(line).into_iter();
    all.flat_map(|one| {
        let parameters = one.parameters.into_iter().flat_map(<[String; 2]>::from);
        [one.scheme].into_iter().chain(parameters)
    })
    .collect()
}

/// The token in an answer, or the reason why there is none.
pub fn token(body: &[u8]) -> Result<String, String> {
    registry::token(body)
}

/// How many versions there are among the tags of an image.
pub fn tags(body: &[u8]) -> Result<usize> {
    source::registry::versions(URL, body, &versions_of()).map(|versions| versions.len())
}

/// Where a list goes on.
#[must_use]
pub fn next_page(header: &str) -> Option<&str> {
    link::target(header)
}

/// The sentence for people in the body of an error.
#[must_use]
pub fn refusal(body: &[u8]) -> Option<String> {
    crate::http::refusal::sentence(body)
}

/// The errors about files in a list of releases.
pub fn releases(body: &[u8]) -> Result<Vec<Error>> {
    let page: Vec<Release> = source::json(URL, body)?;
    let source = versions_of();
    let mut errors = Vec::new();
    for release in page {
        let tag = &release.tag_name;
        let files = release.assets.iter().map(|asset| {
            format!(
                "https://github.com/a/b/releases/download/{tag}/{}",
                asset.name
            )
        });
        let _ = release.published(&files.take(3).collect::<Vec<_>>());
        drop(source.version_of(tag));
        for asset in &release.assets {
            let _ = asset.unfinished();
            errors.extend(asset.digest().err());
        }
    }
    Ok(errors)
}

/// The repository, the tag and the file in an address of a release's file.
#[must_use]
pub fn place(url: &str) -> Option<[String; 3]> {
    Place::of(url).map(|place| [place.repository, place.tag, place.file])
}

fn versions_of() -> VersionSource {
    VersionSource::Github {
        repository: "a/b".to_owned(),
        tag: "v{version}".to_owned(),
        allow: semver::VersionReq::STAR,
    }
}
