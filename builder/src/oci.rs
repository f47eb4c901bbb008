//! OCI images as a tree of files in the [cache](crate::cache): index → manifest → configuration and layers.
//!
//! The formats are those of the OCI image specification 1.1 and of Docker's image manifest version 2, schema 2, which
//! differ in their media types only. Each document names the digest and length of what it refers to, so one pinned
//! digest covers all of it.

pub(crate) mod document;
mod reference;

use stub::bundle::Arch;
use stub::digest::Digest;
use stub::error::{Error, Kind, Result};

pub(crate) use self::document::NoPlatform;
pub(crate) use self::document::PIN_ANOTHER;
pub use self::document::{DOCUMENT_TYPES, Descriptor, Platform};
use self::document::{Fit, Parsed, candidates, config_platform, parse, wrong};
pub use self::reference::{Reference, SCHEME};
use crate::cache::Cache;

/// Indexes, manifests and configurations are at most this many bytes long. The OCI distribution specification 1.1 asks
/// registries to take manifests of up to 4 MB, so nobody can count on more.
pub const DOCUMENT_CAP: u64 = 4 << 20;

/// How many indexes may be nested.
const DEPTH: usize = 3;

/// How many indexes and manifests are read to find the one for a platform: each may have to be fetched.
const MOST_READ: usize = 64;

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
    /// Documents that turned out to be for another platform: the next search for the image needs them again.
    pub others: Vec<Descriptor>,
}

/// How far a digest can be followed to its [`Image`] in the cache.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// To the whole image.
    Image(Box<Image>),
    /// To this document, which is missing, or was damaged and has been removed.
    Missing {
        part: Descriptor,
        /// Whether registries keep it among the blobs.
        blob: bool,
    },
    /// There is no image for the architecture.
    NoPlatform(NoPlatform),
}

impl Image {
    /// Reads an image from the cache alone, for Linux on this architecture. `digest` is that of its index or manifest.
    /// The layers are there, but have not been read: open them with [`Cache::open_verified`].
    pub fn read(cache: &Cache, digest: &Digest, arch: Arch) -> Result<Self> {
        let missing = |part: &Descriptor| {
            Error::new(
                Kind::Failed,
                format!("image {digest}: part of it is not in the cache"),
            )
            .expected(part.digest)
            .hint("fetch it with `builder fetch`")
        };
        let image = match resolve(cache, digest, arch)? {
            Resolved::Image(image) => *image,
            Resolved::Missing { part, .. } => return Err(missing(&part)),
            Resolved::NoPlatform(lack) => return Err(lack.error().hint(PIN_ANOTHER)),
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
            .chain(&self.others)
            .chain([&self.manifest])
            .chain(self.blobs())
    }

    /// The parts that a registry keeps as blobs: configuration and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        [&self.config].into_iter().chain(&self.layers)
    }
}

/// Follows an image's documents as far as they are in the cache.
pub(crate) fn resolve(cache: &Cache, digest: &Digest, arch: Arch) -> Result<Resolved> {
    let mut search = Search {
        cache,
        root: digest,
        arch,
        read: 0,
        others: Vec::new(),
        there: Vec::new(),
    };
    let found = search.visit(Descriptor::pinned(*digest), &[], Fit::Unsaid)?;
    Ok(match found {
        Some(Resolved::Image(mut image)) => {
            image.others = search.others;
            Resolved::Image(image)
        }
        Some(missing) => missing,
        None => Resolved::NoPlatform(NoPlatform {
            digest: *digest,
            arch,
            there: search.there,
        }),
    })
}

/// The search for the manifest of an architecture in a tree of indexes.
struct Search<'a> {
    cache: &'a Cache,
    root: &'a Digest,
    arch: Arch,
    /// How many documents have been read.
    read: usize,
    /// Those that led to nothing.
    others: Vec<Descriptor>,
    /// The platforms of these.
    there: Vec<Platform>,
}

impl Search<'_> {
    /// Looks into a document and the ones it leads to. `above` are the indexes that led to it, `fit` is how the last of
    /// them describes its platform. `None`: there is nothing for the architecture in it.
    fn visit(
        &mut self,
        mut here: Descriptor,
        above: &[Descriptor],
        fit: Fit,
    ) -> Result<Option<Resolved>> {
        self.read += 1;
        if self.read > MOST_READ {
            return Err(wrong(
                self.root,
                &format!("its first {MOST_READ} documents do not say which platform it is for"),
            ));
        }
        let Some(bytes) = self.cache.read(&here.digest, DOCUMENT_CAP)? else {
            return Ok(Some(Resolved::Missing {
                part: here,
                blob: false,
            }));
        };
        if above.is_empty() {
            here.size = bytes.len() as u64;
        }
        here.check_size(bytes.len() as u64)?;
        let (media_type, parsed) = parse(&bytes, &here.digest)?;
        if here.media_type.is_empty() {
            here.media_type = media_type;
        }
        match parsed {
            Parsed::Index(manifests) => self.index(here, manifests, above),
            Parsed::Manifest { config, layers } => {
                // If no index states the platform of a manifest, only its configuration does.
                if fit == Fit::Unsaid {
                    let Some(bytes) = self.cache.read(&config.digest, DOCUMENT_CAP)? else {
                        return Ok(Some(Resolved::Missing {
                            part: config,
                            blob: true,
                        }));
                    };
                    let platform = config_platform(&bytes);
                    let fit = platform.fit(self.arch);
                    if fit != Fit::Yes {
                        self.others.extend([here, config]);
                        self.there.extend((fit == Fit::No).then_some(platform));
                        return Ok(None);
                    }
                }
                Ok(Some(Resolved::Image(Box::new(Image {
                    indexes: above.to_vec(),
                    manifest: here,
                    config,
                    layers,
                    others: Vec::new(),
                }))))
            }
        }
    }

    fn index(
        &mut self,
        here: Descriptor,
        manifests: Vec<Descriptor>,
        above: &[Descriptor],
    ) -> Result<Option<Resolved>> {
        if above.len() == DEPTH {
            return Err(wrong(
                self.root,
                &format!("more than {DEPTH} indexes are nested"),
            ));
        }
        let (candidates, mut there) = candidates(manifests, self.arch);
        self.there.append(&mut there);
        let path = [above, std::slice::from_ref(&here)].concat();
        for (candidate, fit) in candidates {
            let found = self.visit(candidate, &path, fit)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.others.push(here);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use stub::digest::Sha256;

    struct Images {
        _dir: tempfile::TempDir,
        cache: Cache,
    }

    impl Images {
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
            self.configured(&json!({"os": "linux", "architecture": architecture}))
        }

        fn configured(&self, config: &Value) -> Value {
            let config = self.add(config);
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
        let images = Images::new();
        let (amd64, arm64) = (images.manifest("amd64"), images.manifest("arm64"));
        let index = images.index(&[(arm64, Some("arm64")), (amd64.clone(), Some("amd64"))]);
        let image = images.read(&index, Arch::X86_64).unwrap();
        assert_eq!(json!(image.manifest.digest), amd64["digest"]);
        assert_eq!((image.indexes.len(), image.layers.len()), (1, 1));
        assert_eq!(image.parts().count(), 4);
        assert_eq!(image.manifest.media_type, DOCUMENT_TYPES[1]);
        // By way of a second index, and without any.
        let outer = images.index(&[(index, None)]);
        let nested = images.read(&outer, Arch::X86_64).unwrap();
        assert_eq!(
            (nested.manifest, nested.indexes.len()),
            (image.manifest.clone(), 2)
        );
        let alone = images.read(&amd64, Arch::X86_64).unwrap();
        assert_eq!(alone.manifest.digest, image.manifest.digest);
        assert!(alone.indexes.is_empty());
    }

    #[test]
    fn a_missing_platform_is_an_error_that_lists_those_there_are() {
        let images = Images::new();
        let (s390x, amd64) = (images.manifest("s390x"), images.manifest("amd64"));
        let index = images.index(&[(amd64.clone(), Some("amd64")), (s390x, Some("s390x"))]);
        let error = images.read(&index, Arch::Aarch64).unwrap_err().to_string();
        let error = error.replace(index["digest"].as_str().unwrap(), "sha256:…");
        insta::assert_snapshot!(error, @r"
        image document sha256:…: there is nothing for this platform in it
          expected  linux/arm64
          found     linux/amd64, linux/s390x

        hint: pin another version of the image with `builder lock --update`
        ");
        let error = images.read(&amd64, Arch::Aarch64).unwrap_err().to_string();
        assert!(
            error.contains("linux/arm64") && error.contains("linux/amd64"),
            "{error}"
        );
        let empty = images.index(&[]);
        let error = images.read(&empty, Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains("no platform at all"), "{error}");
    }

    /// An entry of an index for an architecture, with a variant if that is written behind a slash.
    fn entry(descriptor: &Value, platform: &str) -> Value {
        let (architecture, variant) = platform.split_once('/').unwrap_or((platform, ""));
        let mut entry = descriptor.clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        if !variant.is_empty() {
            entry["platform"]["variant"] = json!(variant);
        }
        entry
    }

    #[test]
    fn a_variant_that_not_every_processor_has_is_never_taken() {
        let images = Images::new();
        let manifests: Vec<Value> = (0..5)
            .map(|n| images.configured(&json!({"os": "linux", "architecture": "amd64", "n": n})))
            .collect();
        for (platforms, arch, chosen) in [
            (&["amd64/v3", "amd64"][..], Arch::X86_64, Some(1)),
            (&["amd64/v2", "amd64/v4", "amd64/v1"], Arch::X86_64, Some(2)),
            (&["386", "x86_64", "amd64"], Arch::X86_64, Some(1)),
            (&["amd64", "amd64"], Arch::X86_64, Some(0)),
            (&["amd64/v2"], Arch::X86_64, None),
            (&["arm/v7", "arm64/v9", "arm64/v8"], Arch::Aarch64, Some(2)),
            (&["arm64/v8", "arm64"], Arch::Aarch64, Some(0)),
            (&["arm/v8", "arm64/v8.2"], Arch::Aarch64, None),
        ] {
            let entries = manifests.iter().zip(platforms).map(|(m, p)| entry(m, p));
            let index =
                images.add(&json!({"schemaVersion": 2, "manifests": entries.collect::<Vec<_>>()}));
            let found = images.read(&index, arch);
            let found = found.map(|image| json!(image.manifest.digest));
            match chosen {
                Some(chosen) => {
                    assert_eq!(found.unwrap(), manifests[chosen]["digest"], "{platforms:?}");
                }
                None => assert!(found.is_err(), "{platforms:?}"),
            }
        }
        let entries = [
            entry(&manifests[0], "amd64/v3"),
            entry(&manifests[1], "amd64/v2"),
        ];
        let index = images.add(&json!({"schemaVersion": 2, "manifests": entries}));
        let error = images.read(&index, Arch::X86_64).unwrap_err().to_string();
        let error = error.replace(index["digest"].as_str().unwrap(), "sha256:…");
        insta::assert_snapshot!(error, @r"
        image document sha256:…: there is nothing for every processor of this platform in it
          expected  linux/amd64
          found     linux/amd64/v3, linux/amd64/v2

        hint: a variant such as `v3` does not run on older processors, so it is not taken: choose an image that is built without it
        ");
        // The same where no index says it.
        let alone =
            images.configured(&json!({"os": "linux", "architecture": "amd64", "variant": "v3"}));
        let error = images.read(&alone, Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains("found     linux/amd64/v3"), "{error}");
    }

    #[test]
    fn what_no_index_says_is_read_in_the_configuration() {
        let images = Images::new();
        let (arm64, amd64) = (images.manifest("arm64"), images.manifest("amd64"));
        let attestation = images.configured(&json!({"os": "unknown", "architecture": "unknown"}));
        let chart = images.configured(&json!({"name": "a Helm chart"}));
        let mut signature = images.add(&json!("a signature"));
        signature["mediaType"] = json!("application/vnd.dev.example.signature");
        let mut unsaid = entry(&amd64, "");
        unsaid["platform"]["os"] = json!("");
        let entries = [&signature, &attestation, &chart, &arm64, &unsaid];
        let index = images.add(&json!({"schemaVersion": 2, "manifests": entries}));
        let image = images.read(&index, Arch::X86_64).unwrap();
        assert_eq!(json!(image.manifest.digest), amd64["digest"]);
        // A manifest and a configuration of each of the three that were looked into.
        assert_eq!((image.others.len(), image.parts().count()), (6, 10));
        let error = images.read(&attestation, Arch::X86_64).unwrap_err();
        assert!(error.to_string().contains("linux/amd64"), "{error}");
        // An entry that states its platform comes first, and an index that leads nowhere is skipped.
        let inner = images.index(&[(arm64, None)]);
        let outer = [inner, entry(&amd64, "amd64")];
        let outer = images.add(&json!({"schemaVersion": 2, "manifests": outer}));
        let image = images.read(&outer, Arch::X86_64).unwrap();
        assert_eq!((image.indexes.len(), image.others.len()), (1, 0));
        let image = images.read(&outer, Arch::Aarch64).unwrap();
        assert_eq!(image.indexes.len(), 2);
        let many: Vec<Value> = (0..70)
            .map(|n| images.configured(&json!({"os": "linux", "architecture": "s390x", "n": n})))
            .collect();
        let many = images.add(&json!({"schemaVersion": 2, "manifests": many}));
        let error = images.read(&many, Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains("first 64 documents"), "{error}");
    }

    #[test]
    fn bad_documents_are_refused() {
        let images = Images::new();
        let deep = (0..4).fold(images.manifest("amd64"), |inner, _| {
            images.index(&[(inner, None)])
        });
        let mut lying = images.manifest("amd64");
        lying["size"] = json!(1);
        let lying = images.index(&[(lying, Some("amd64"))]);
        let ambiguous = images.add(&json!({"schemaVersion": 2, "manifests": [], "layers": []}));
        let old = images.add(&json!({"schemaVersion": 1}));
        let page = images.add(&json!("<html>"));
        for (root, why) in [
            (deep, "more than 3 indexes"),
            (lying, "1 bytes"),
            (ambiguous, "neither an index nor a manifest"),
            (old, "schemaVersion 1"),
            (page, "invalid type"),
        ] {
            let error = images.read(&root, Arch::X86_64).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("hint: "),
                "{why}: {error}"
            );
        }
    }

    #[test]
    fn a_part_that_is_not_in_the_cache_is_named() {
        let images = Images::new();
        let manifest = images.manifest("amd64");
        let image = images.read(&manifest, Arch::X86_64).unwrap();
        for part in [&image.layers[0], &image.config, &image.manifest] {
            fs_err::remove_file(images.cache.path(&part.digest)).unwrap();
            let error = images
                .read(&manifest, Arch::X86_64)
                .unwrap_err()
                .to_string();
            assert!(error.contains(&part.digest.hex()), "{error}");
            assert!(error.contains("`builder fetch`"), "{error}");
        }
    }
}
