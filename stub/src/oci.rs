//! The documents of OCI images that both programs write, and the names in them (Open Container Initiative, Image Format
//! Specification 1.1).
//!
//! The documents are JSON in one line with sorted keys: the same image gives the same bytes, and so the same digest.

use serde_json::{Value, json};

use crate::digest::{Digest, Sha256};

/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of a configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media type of a layer that gzip has compressed.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a layer that zstd has compressed.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Where the parts of images lie in an image layout.
pub const BLOBS: &str = "blobs/sha256";
/// The annotation with an image's full name, which is containerd's.
pub const FULL_NAME: &str = "io.containerd.image.name";
/// The annotation with an image's name in the specification. It may be a tag only.
pub const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// The content of the file `oci-layout`, by which an image layout is known.
#[must_use]
pub fn layout() -> String {
    json!({ "imageLayoutVersion": "1.0.0" }).to_string()
}

/// An index of these manifests.
#[must_use]
pub fn index(manifests: &[Value]) -> String {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string()
}

/// A manifest of a configuration and layers.
#[must_use]
pub fn manifest(config: &Value, layers: &[Value]) -> String {
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
        .to_string()
}

/// A reference to content.
#[must_use]
pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    descriptor_of(media_type, Sha256::of(content), content.len() as u64)
}

/// A reference to content with this digest and so many bytes.
#[must_use]
pub fn descriptor_of(media_type: &str, sha256: Sha256, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::from(sha256), "size": size })
}
