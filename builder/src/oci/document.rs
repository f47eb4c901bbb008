//! The documents an image is described by.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use stub::bundle::Arch;
use stub::digest::Digest;
use stub::error::{Error, Kind, Result};

/// The media types in the request for a document.
pub const DOCUMENT_TYPES: [&str; 4] = [
    stub::oci::INDEX,
    stub::oci::MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The next step where an image is of no use.
pub(crate) const PIN_ANOTHER: &str =
    "pin another version of the image with `builder lock --update`";

/// A reference to a part of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: the platform that the manifest is for.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// The platform that a manifest is for, as an index or a configuration states it. Empty fields are not stated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// In Go's words: `amd64`.
    pub architecture: String,
    /// In Go's words: `linux`.
    pub os: String,
    /// Which processors of the architecture: `v3` of amd64 wants instructions that many do not have.
    pub variant: Option<String>,
}

/// Whether something is for Linux on an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It runs on every processor of the architecture.
    Yes,
    No,
    /// Not stated.
    Unsaid,
}

/// An image that has nothing for Linux on an architecture.
#[derive(Debug, Clone)]
pub(crate) struct NoPlatform {
    pub(super) digest: Digest,
    pub(super) arch: Arch,
    /// The platforms it has images for.
    pub(super) there: Vec<Platform>,
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

/// The documents and blobs that a document refers to.
pub(crate) enum Parsed {
    Index(Vec<Descriptor>),
    Manifest {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

impl Descriptor {
    /// An image as the lockfile has it: nothing but its digest.
    pub(crate) fn pinned(digest: Digest) -> Self {
        Self {
            media_type: String::new(),
            digest,
            size: 0,
            platform: None,
        }
    }

    /// Whether it may be an index or a manifest of an image, by its media type.
    fn may_be_image(&self) -> bool {
        self.media_type.is_empty() || DOCUMENT_TYPES.contains(&self.media_type.as_str())
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

/// The entries of an index that may lead to something for Linux on this architecture, the best first: those that say so,
/// in the index's order, then those that say nothing, whose platform only their own documents tell. Second: the platforms of
/// the others.
pub(crate) fn candidates(
    manifests: Vec<Descriptor>,
    arch: Arch,
) -> (Vec<(Descriptor, Fit)>, Vec<Platform>) {
    let (mut sure, mut unsaid, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for manifest in manifests {
        let platform = manifest.platform.clone().unwrap_or_default();
        match platform.fit(arch) {
            Fit::Yes => sure.push((manifest, Fit::Yes)),
            Fit::Unsaid if manifest.may_be_image() => unsaid.push((manifest, Fit::Unsaid)),
            Fit::Unsaid => {}
            // Attestations, which BuildKit puts beside the manifests they are about.
            Fit::No if platform.os == "unknown" => {}
            Fit::No => others.push(platform),
        }
    }
    sure.append(&mut unsaid);
    (sure, others)
}

/// The platform in an image's configuration. Any other document gives an empty platform: a manifest may hold anything.
pub(crate) fn config_platform(config: &[u8]) -> Platform {
    serde_json::from_slice(config).unwrap_or_default()
}

impl Platform {
    /// Whether it is one for every processor of an architecture. The other spellings are those that containerd knows.
    pub(super) fn fit(&self, arch: Arch) -> Fit {
        if self.os.is_empty() || self.architecture.is_empty() {
            return Fit::Unsaid;
        }
        // The baseline of an architecture is also a variant, and is often not stated.
        let (names, variants) = match arch {
            Arch::X86_64 => (["amd64", "x86_64", "x86-64"], ["", "v1"].as_slice()),
            Arch::Aarch64 => (["arm64", "aarch64", "arm64/v8"], ["", "v8", "8"].as_slice()),
        };
        let variant = self.variant.as_deref().unwrap_or_default();
        let fits = self.os == "linux"
            && names.contains(&self.architecture.as_str())
            && variants.contains(&variant);
        if fits { Fit::Yes } else { Fit::No }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

impl NoPlatform {
    /// The error that says so and lists the platforms there are.
    pub(crate) fn error(&self) -> Error {
        let name = self.arch.go_name();
        let mut there: Vec<String> = self.there.iter().map(Platform::to_string).collect();
        let mut shown = BTreeSet::new();
        there.retain(|platform| shown.insert(platform.clone()));
        let found = if there.is_empty() {
            "no platform at all".to_owned()
        } else {
            there.join(", ")
        };
        let own = format!("linux/{name}");
        let newer = there.iter().any(|p| p.starts_with(&format!("{own}/")));
        let error = Error::new(
            Kind::Input,
            format!(
                "image document {}: there is nothing for {} in it",
                self.digest,
                if newer {
                    "every processor of this platform"
                } else {
                    "this platform"
                }
            ),
        );
        let error = error.expected(own).found(found);
        if newer {
            return error.hint(
                "a variant such as `v3` does not run on older processors, so it is not taken: choose an image that \
                 is built without it",
            );
        }
        error
    }
}

pub(super) fn wrong(digest: &Digest, why: &str) -> Error {
    Error::new(Kind::Input, format!("image document {digest}: {why}")).hint(PIN_ANOTHER)
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
