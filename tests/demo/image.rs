//! An image for this machine's architecture only, made of Debian's files: an index, a manifest, a configuration and two
//! layers (OCI image format specification 1.1).

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use stub::bundle::{Arch, BundlePath};
use stub::digest::{Digest, Sha256};
use stub::error::{Error, Kind, Result};
use stub::oci::{CONFIG, LAYER, LAYER_GZIP, MANIFEST, descriptor, index, manifest};

/// Names by which busybox can be called.
const APPLETS: [&str; 5] = ["cat", "echo", "ls", "sh", "sleep"];

/// Files by their paths.
pub(super) type Files = BTreeMap<BundlePath, Vec<u8>>;

/// A whole image.
pub(super) struct Image {
    /// The index that its tag points to.
    pub(super) index: Vec<u8>,
    /// The parts that the index leads to.
    pub(super) part: Part,
    /// The same in a bundle, where layers are not compressed.
    pub(super) bundled: Part,
}

/// The image for one architecture.
pub(super) struct Part {
    /// Its manifest.
    pub(super) manifest: Vec<u8>,
    /// Its configuration and its layers.
    pub(super) blobs: Vec<Vec<u8>>,
}

impl Image {
    /// Makes it of an architecture's files: programs make up the first layer, the rest the second.
    pub(super) fn of(arch: Arch, files: &Files) -> Result<Self> {
        let (programs, rest): (Vec<_>, Vec<_>) = files
            .iter()
            .partition(|(path, _)| path.as_str().starts_with("bin/"));
        let layers = [layer(&programs, &APPLETS)?, layer(&rest, &[])?];
        let ids: Vec<String> = layers.iter().map(|l| digest(&l.plain)).collect();
        let config = json!({
            "architecture": arch.go_name(),
            "os": "linux",
            "config": { "Entrypoint": ["/bin/sh"], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let config = config.to_string().into_bytes();
        let (packed, plain): (Vec<_>, Vec<_>) =
            layers.into_iter().map(|l| (l.packed, l.plain)).unzip();
        let part = Part::of(config.clone(), packed, LAYER_GZIP);
        let mut descriptor = descriptor(MANIFEST, &part.manifest);
        descriptor["platform"] = json!({ "architecture": arch.go_name(), "os": "linux" });
        Ok(Self {
            index: index(&[descriptor]).into_bytes(),
            part,
            bundled: Part::of(config, plain, LAYER),
        })
    }
}

impl Part {
    fn of(config: Vec<u8>, layers: Vec<Vec<u8>>, media_type: &str) -> Self {
        let described: Vec<Value> = layers.iter().map(|l| descriptor(media_type, l)).collect();
        let manifest = manifest(&descriptor(CONFIG, &config), &described);
        let mut blobs = vec![config];
        blobs.extend(layers);
        Self {
            manifest: manifest.into_bytes(),
            blobs,
        }
    }

    /// Everything of it.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.blobs.iter().chain([&self.manifest])
    }
}

/// A layer before and after compression.
struct Layer {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// An archive of files, and of links in `bin/` to its busybox.
fn layer(files: &[(&BundlePath, &Vec<u8>)], links: &[&str]) -> Result<Layer> {
    let cannot = |e: std::io::Error| Error::new(Kind::Failed, format!("cannot make a layer: {e}"));
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(if path.as_str().starts_with("bin/") {
            0o755
        } else {
            0o644
        });
        let appended = archive.append_data(&mut header, path.as_str(), content.as_slice());
        appended.map_err(cannot)?;
    }
    for link in links {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        let appended = archive.append_link(&mut header, format!("bin/{link}"), "busybox");
        appended.map_err(cannot)?;
    }
    let plain = archive.into_inner().map_err(cannot)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).map_err(cannot)?;
    let packed = gzip.finish().map_err(cannot)?;
    Ok(Layer { plain, packed })
}

/// A digest as registries write it.
pub(super) fn digest(content: &[u8]) -> String {
    Digest::from(Sha256::of(content)).to_string()
}
