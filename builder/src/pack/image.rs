//! A whole image among the files of a bundle.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use stub::bundle::{Arch, BundlePath};
use stub::digest::Digest;
use stub::error::{Error, Kind, Result};
use stub::oci::{BLOBS, CONFIG, FULL_NAME, LAYER, MANIFEST, REFERENCE};
use stub::progress::Progress;

use super::members::{Content, Counted};
use crate::archive;
use crate::cache::Cache;
use crate::lockfile::Artifact;
use crate::oci::{self, Descriptor};

/// The part of an image's configuration that names its layers ("rootfs" in the OCI image specification 1.1, config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RootFs {
    /// The digests of the layers as tar archives, the lowest first.
    diff_ids: Vec<Digest>,
}

/// A whole image, as an image layout below `to`: an OCI image index of one manifest, and the blobs it leads to
/// (OCI image format specification 1.1, "image-layout.md").
///
/// Layers are not compressed there. A bundle compresses better than gzip: the layer of CoreDNS takes 12.1 MB of it instead
/// of 22.9 MB. And a container runtime need not decompress them when it loads the image. So the manifest is another one. It
/// has the same configuration, whose digest is the image's id, and which names each layer by its digest as a tar archive:
/// what the pinned digest covers stays covered.
pub(super) fn members(
    artifact: &Artifact,
    digest: &Digest,
    arch: Arch,
    cache: &Cache,
    progress: &Progress,
) -> Result<BTreeMap<BundlePath, Content>> {
    let [take] = artifact.files.as_slice() else {
        return Err(Error::new(
            Kind::Input,
            "an image goes to exactly one directory",
        ));
    };
    let image = oci::Image::read(cache, digest, arch)?;
    // In full, because that is the name a container runtime looks for when a pod asks for `busybox`.
    let reference = oci::Reference::parse(artifact.url())?;
    let (name, tag) = (reference.to_string(), reference.tag.unwrap_or_default());
    let mut members = BTreeMap::new();
    let mut put = |path: String, content: Content| -> Result<()> {
        members.insert(BundlePath::new(format!("{}/{path}", take.to))?, content);
        Ok(())
    };

    let config = cache.read(&image.config.digest, oci::DOCUMENT_CAP)?;
    let config = config.unwrap_or_default();
    let mut blobs = vec![stored(cache, &mut config.as_slice())?];
    blobs.extend(layers(&image, &config, cache, &name, progress)?);
    let descriptors: Vec<_> = blobs
        .iter()
        .zip(std::iter::once(CONFIG).chain(std::iter::repeat(LAYER)))
        .map(|(blob, media_type)| descriptor(media_type, blob))
        .collect();
    let manifest = stub::oci::manifest(&descriptors[0], &descriptors[1..]);
    blobs.push(stored(cache, &mut manifest.as_bytes())?);
    let mut entry = descriptor(MANIFEST, &blobs[blobs.len() - 1]);
    entry["platform"] = json!({ "architecture": arch.go_name(), "os": "linux" });
    entry["annotations"] = json!({ FULL_NAME: name, REFERENCE: tag });

    let index = stub::oci::index(&[entry]);
    for (path, document) in [("oci-layout", stub::oci::layout()), ("index.json", index)] {
        put(path.to_owned(), stored(cache, &mut document.as_bytes())?)?;
    }
    for blob in blobs {
        put(format!("{BLOBS}/{}", blob.sha256), blob)?;
    }
    Ok(members)
}

fn stored(cache: &Cache, content: &mut dyn std::io::Read) -> Result<Content> {
    let (sha256, size) = cache.take_in(content)?;
    Ok(Content { sha256, size })
}

fn descriptor(media_type: &str, blob: &Content) -> Value {
    stub::oci::descriptor_of(media_type, blob.sha256, blob.size)
}

/// The layers of an image as tar archives, the lowest first. Afterwards they are in the cache.
fn layers(
    image: &oci::Image,
    config: &[u8],
    cache: &Cache,
    name: &str,
    progress: &Progress,
) -> Result<Vec<Content>> {
    let wrong = |why: String| {
        Error::new(Kind::Input, format!("image {name}: {why}")).hint(oci::PIN_ANOTHER)
    };
    let configuration: Configuration = serde_json::from_slice(config)
        .map_err(|error| wrong(format!("its configuration cannot be read: {error}")))?;
    let ids = configuration.rootfs.diff_ids;
    if ids.len() != image.layers.len() {
        return Err(
            wrong("its configuration names other layers than its manifest".to_owned())
                .expected(format!(
                    "{} layers, as the manifest says",
                    image.layers.len()
                ))
                .found(format!("{} in `rootfs.diff_ids`", ids.len())),
        );
    }
    let task = progress.task(format!("unpack {name}"), 0);
    let mut plain = Vec::new();
    for (number, (layer, id)) in (1..).zip(image.layers.iter().zip(ids)) {
        let content = as_tar(cache, layer, &task)?;
        if Digest::from(content.sha256) != id {
            return Err(
                wrong(format!("layer {number} is not what its configuration says"))
                    .expected(id)
                    .found(Digest::from(content.sha256)),
            );
        }
        plain.push(content);
    }
    task.clear();
    Ok(plain)
}

fn as_tar(cache: &Cache, layer: &Descriptor, task: &stub::progress::Task<'_>) -> Result<Content> {
    let blob = cache.open_verified(&layer.digest)?;
    let mut input = archive::plain(&layer.media_type, blob)?;
    stored(
        cache,
        &mut Counted {
            input: &mut input,
            task,
        },
    )
}
