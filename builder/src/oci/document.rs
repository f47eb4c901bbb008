//! The documents an image is described by.

use std::fmt;

use serde::Deserialize;
use stub::bundle::Arch;
use stub::error::{Error, Kind, Result};

use crate::digest::Digest;

/// What a registry is asked for when a document is wanted.
pub const DOCUMENT_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A reference to a part of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: what the manifest is for.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// What a manifest of an index is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// In Go's words: `amd64`.
    pub architecture: String,
    /// In Go's words: `linux`.
    pub os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// What a document refers to.
pub(crate) enum Parsed {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

impl Descriptor {
    /// What the lockfile says of an image: nothing but its digest.
    pub(crate) fn pinned(digest: Digest) -> Self {
        Self {
            media_type: String::new(),
            digest,
            size: 0,
            platform: None,
        }
    }

    pub(super) fn check_size(&self, found: u64) -> Result<()> {
        if found == self.size {
            return Ok(());
        }
        Err(wrong(&self.digest, "its length is not what its index says")
            .expected(format!("{} bytes", self.size))
            .found(format!("{found} bytes")))
    }
}

/// Reads an index or a manifest. Gives its media type too.
pub(crate) fn parse(bytes: &[u8], digest: &Digest) -> Result<(String, Parsed)> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| wrong(digest, &e.to_string()))?;
    if document.schema_version != 2 {
        return Err(wrong(digest, "unknown version of the format")
            .expected("schemaVersion 2")
            .found(format!("schemaVersion {}", document.schema_version)));
    }
    let (default_type, parsed) = match (document.manifests, document.config, document.layers) {
        (Some(manifests), None, None) => (DOCUMENT_TYPES[0], Parsed::Index(manifests)),
        (None, Some(config), Some(layers)) => {
            (DOCUMENT_TYPES[1], Parsed::Manifest { config, layers })
        }
        // One that is both means different things to different readers (CVE-2021-41190).
        _ => {
            return Err(wrong(digest, "it is neither an index nor a manifest")
                .expected("either `manifests`, or `config` and `layers`"));
        }
    };
    let media_type = document
        .media_type
        .unwrap_or_else(|| default_type.to_owned());
    Ok((media_type, parsed))
}

/// The entry of an index for Linux on this architecture, or a further index that may have it.
pub(crate) fn choose(manifests: &[Descriptor], digest: &Digest, arch: Arch) -> Result<Descriptor> {
    let fits = |d: &&Descriptor| {
        let platform = d.platform.as_ref();
        platform.is_some_and(|p| p.os == "linux" && p.architecture == arch.go_name())
    };
    let is_index = |d: &&Descriptor| {
        let types = [DOCUMENT_TYPES[0], DOCUMENT_TYPES[2]];
        d.platform.is_none() && types.contains(&d.media_type.as_str())
    };
    let all = manifests.iter();
    let chosen = all
        .clone()
        .find(fits)
        .or_else(|| all.clone().find(is_index));
    chosen.cloned().ok_or_else(|| {
        let there: Vec<String> = all
            .filter_map(|d| d.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        other_platform(digest, arch, &there.join(", "))
    })
}

/// Checks that an image's configuration is for Linux on this architecture.
pub(crate) fn check_platform(config: &[u8], digest: &Digest, arch: Arch) -> Result<()> {
    let platform: Platform =
        serde_json::from_slice(config).map_err(|e| wrong(digest, &e.to_string()))?;
    if platform.os == "linux" && platform.architecture == arch.go_name() {
        return Ok(());
    }
    Err(other_platform(digest, arch, &platform.to_string()))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

fn other_platform(digest: &Digest, arch: Arch, found: &str) -> Error {
    wrong(digest, "there is nothing for this platform in it")
        .expected(format!("linux/{}", arch.go_name()))
        .found(if found.is_empty() {
            "no platform at all"
        } else {
            found
        })
}

pub(super) fn wrong(digest: &Digest, why: &str) -> Error {
    Error::new(Kind::Input, format!("image document {digest}: {why}"))
        .hint("pin another version of the image with `builder lock --update`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use stub::digest::Sha256;

    proptest::proptest! {
        #[test]
        fn any_document_is_read_or_refused(text in r#"\{("(schemaVersion|manifests|config|layers|mediaType)": ?(2|\[\]|\{\}|"x"|null),?){0,5}\}"#) {
            let digest: Digest = Sha256::of(b"").into();
            let _ = parse(text.as_bytes(), &digest);
        }
    }
}
