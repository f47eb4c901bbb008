//! OCI images as a tree of files in the [cache](crate::cache): index → manifest → configuration and layers.
//!
//! The formats are those of the OCI image specification 1.1 and of Docker's image manifest version 2, schema 2, which
//! differ in their media types only. Each document names the digest and length of what it refers to, so one pinned
//! digest covers all of it.

pub(crate) mod document;

use stub::bundle::Arch;
use stub::error::{Error, Kind, Result};

pub use self::document::{DOCUMENT_TYPES, Descriptor, Platform};
use self::document::{Parsed, check_platform, choose, parse, wrong};
use crate::cache::Cache;
use crate::digest::Digest;

/// Indexes, manifests and configurations are at most this many bytes long. The OCI distribution specification 1.1 asks
/// registries to take manifests of up to 4 MB, so nobody can count on more.
pub const DOCUMENT_CAP: u64 = 4 << 20;

/// How many indexes may stand one behind the other.
const DEPTH: usize = 3;

/// An image for one architecture, all of whose documents are in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The indexes that led to the manifest, the pinned one first. Empty if the manifest itself is pinned.
    pub indexes: Vec<Descriptor>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// How far the cache gets one from a digest to its [`Image`].
#[derive(Debug)]
pub(crate) enum Resolved {
    /// All the way.
    Image(Image),
    /// To this document, which is missing, or was damaged and has been removed.
    Missing {
        part: Descriptor,
        /// Whether registries keep it among the blobs.
        blob: bool,
    },
}

impl Image {
    /// Reads an image from the cache alone, for Linux on this architecture. `digest` is that of its index or manifest.
    /// The layers are there, but have not been read: open them with [`Cache::open_verified`].
    pub fn read(cache: &Cache, digest: &Digest, arch: Arch) -> Result<Self> {
        let missing = |part: &Descriptor| {
            Error::new(
                Kind::Failed,
                format!("image {digest}: a part of it is not in the cache"),
            )
            .expected(part.digest)
            .hint("fetch it with `builder fetch`")
        };
        let image = match resolve(cache, digest, arch)? {
            Resolved::Image(image) => image,
            Resolved::Missing { part, .. } => return Err(missing(&part)),
        };
        if let Some(part) = image.blobs().find(|b| !cache.contains(&b.digest)) {
            return Err(missing(part));
        }
        Ok(image)
    }

    /// Everything it consists of: documents and layers.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.indexes
            .iter()
            .chain([&self.manifest])
            .chain(self.blobs())
    }

    /// What a registry keeps as blobs: configuration and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        [&self.config].into_iter().chain(&self.layers)
    }
}

/// Follows an image's documents as far as they are in the cache.
pub(crate) fn resolve(cache: &Cache, digest: &Digest, arch: Arch) -> Result<Resolved> {
    let mut here = Descriptor::pinned(*digest);
    let mut indexes = Vec::new();
    loop {
        let Some(bytes) = cache.read(&here.digest, DOCUMENT_CAP)? else {
            return Ok(Resolved::Missing {
                part: here,
                blob: false,
            });
        };
        if indexes.is_empty() {
            here.size = bytes.len() as u64;
        }
        here.check_size(bytes.len() as u64)?;
        let (media_type, parsed) = parse(&bytes, &here.digest)?;
        if here.media_type.is_empty() {
            here.media_type = media_type;
        }
        match parsed {
            Parsed::Index(manifests) => {
                let next = choose(&manifests, &here.digest, arch)?;
                indexes.push(std::mem::replace(&mut here, next));
                if indexes.len() > DEPTH {
                    return Err(wrong(
                        digest,
                        &format!("more than {DEPTH} indexes stand one behind the other"),
                    ));
                }
            }
            Parsed::Manifest { config, layers } => {
                // Nothing but the configuration says what a manifest without an index is for.
                if indexes.is_empty() {
                    match cache.read(&config.digest, DOCUMENT_CAP)? {
                        Some(bytes) => check_platform(&bytes, &config.digest, arch)?,
                        None => {
                            return Ok(Resolved::Missing {
                                part: config,
                                blob: true,
                            });
                        }
                    }
                }
                return Ok(Resolved::Image(Image {
                    indexes,
                    manifest: here,
                    config,
                    layers,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use stub::digest::Sha256;

    struct Registry {
        _dir: tempfile::TempDir,
        cache: Cache,
    }

    impl Registry {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let cache = Cache::at(dir.path());
            Self { _dir: dir, cache }
        }

        fn add(&self, document: &Value) -> Value {
            let bytes = document.to_string();
            let digest: Digest = Sha256::of(bytes.as_bytes()).into();
            self.cache.insert(&digest, bytes.as_bytes()).unwrap();
            json!({"digest": digest, "size": bytes.len()})
        }

        fn manifest(&self, architecture: &str) -> Value {
            let config = self.add(&json!({"os": "linux", "architecture": architecture}));
            let layer = self.add(&json!("layer"));
            self.add(&json!({"schemaVersion": 2, "config": config, "layers": [layer]}))
        }

        fn index(&self, entries: &[(Value, Option<&str>)]) -> Value {
            let entries: Vec<Value> = entries
                .iter()
                .map(|(descriptor, architecture)| {
                    let mut entry = descriptor.clone();
                    match architecture {
                        Some(a) => entry["platform"] = json!({"os": "linux", "architecture": a}),
                        None => entry["mediaType"] = json!(DOCUMENT_TYPES[0]),
                    }
                    entry
                })
                .collect();
            self.add(&json!({"schemaVersion": 2, "manifests": entries}))
        }

        fn read(&self, root: &Value, arch: Arch) -> Result<Image> {
            let digest: Digest = root["digest"].as_str().unwrap().parse().unwrap();
            Image::read(&self.cache, &digest, arch)
        }
    }

    #[test]
    fn an_index_leads_to_the_manifest_of_the_architecture() {
        let registry = Registry::new();
        let (amd64, arm64) = (registry.manifest("amd64"), registry.manifest("arm64"));
        let index = registry.index(&[(arm64, Some("arm64")), (amd64.clone(), Some("amd64"))]);
        let image = registry.read(&index, Arch::X86_64).unwrap();
        assert_eq!(json!(image.manifest.digest), amd64["digest"]);
        assert_eq!((image.indexes.len(), image.layers.len()), (1, 1));
        assert_eq!(image.parts().count(), 4);
        assert_eq!(image.manifest.media_type, DOCUMENT_TYPES[1]);
        // By way of a second index, and without any.
        let outer = registry.index(&[(index, None)]);
        let nested = registry.read(&outer, Arch::X86_64).unwrap();
        assert_eq!(
            (nested.manifest, nested.indexes.len()),
            (image.manifest.clone(), 2)
        );
        let alone = registry.read(&amd64, Arch::X86_64).unwrap();
        assert_eq!(alone.manifest.digest, image.manifest.digest);
        assert!(alone.indexes.is_empty());
    }

    #[test]
    fn a_missing_platform_is_an_error_that_lists_those_there_are() {
        let registry = Registry::new();
        let (s390x, amd64) = (registry.manifest("s390x"), registry.manifest("amd64"));
        let index = registry.index(&[(amd64.clone(), Some("amd64")), (s390x, Some("s390x"))]);
        let error = registry
            .read(&index, Arch::Aarch64)
            .unwrap_err()
            .to_string();
        let error = error.replace(index["digest"].as_str().unwrap(), "sha256:…");
        insta::assert_snapshot!(error, @r"
        image document sha256:…: there is nothing for this platform in it
          expected  linux/arm64
          found     linux/amd64, linux/s390x

        hint: pin another version of the image with `builder lock --update`
        ");
        let error = registry
            .read(&amd64, Arch::Aarch64)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("linux/arm64") && error.contains("linux/amd64"),
            "{error}"
        );
        let empty = registry.index(&[]);
        let error = registry.read(&empty, Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains("no platform at all"), "{error}");
    }

    #[test]
    fn bad_documents_are_refused() {
        let registry = Registry::new();
        let deep = (0..4).fold(registry.manifest("amd64"), |inner, _| {
            registry.index(&[(inner, None)])
        });
        let mut lying = registry.manifest("amd64");
        lying["size"] = json!(1);
        let lying = registry.index(&[(lying, Some("amd64"))]);
        let ambiguous = registry.add(&json!({"schemaVersion": 2, "manifests": [], "layers": []}));
        let old = registry.add(&json!({"schemaVersion": 1}));
        let page = registry.add(&json!("<html>"));
        for (root, why) in [
            (deep, "more than 3 indexes"),
            (lying, "1 bytes"),
            (ambiguous, "neither an index nor a manifest"),
            (old, "schemaVersion 1"),
            (page, "invalid type"),
        ] {
            let error = registry.read(&root, Arch::X86_64).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("hint: "),
                "{why}: {error}"
            );
        }
    }

    #[test]
    fn a_part_that_is_not_in_the_cache_is_named() {
        let registry = Registry::new();
        let manifest = registry.manifest("amd64");
        let image = registry.read(&manifest, Arch::X86_64).unwrap();
        for part in [&image.layers[0], &image.config, &image.manifest] {
            fs_err::remove_file(registry.cache.path(&part.digest)).unwrap();
            let error = registry
                .read(&manifest, Arch::X86_64)
                .unwrap_err()
                .to_string();
            assert!(error.contains(&part.digest.hex()), "{error}");
            assert!(error.contains("`builder fetch`"), "{error}");
        }
    }
}
