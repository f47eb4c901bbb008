//! OCI image layouts with one image each (Open Container Initiative, Image Layout Specification 1.1), and tar streams of
//! them, which container runtimes import.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

use super::contents::Blob;
use crate::error::{Context, Error, Kind, Result};
use crate::oci;
pub(super) use crate::oci::BLOBS;

/// An image in an index.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its full name, for example `registry.k8s.io/pause:3.10.1`.
    pub(super) name: String,
    /// The digest of its manifest, or of its index of platforms.
    pub(super) digest: String,
    /// Its whole entry in the index.
    descriptor: Value,
}

/// Reads the index of an image layout. An image without a full name is an error, because no pod could refer to it.
pub(super) fn entries(index: &[u8], path: &Path) -> Result<Vec<Entry>> {
    let index: Value = serde_json::from_slice(index)
        .map_err(io::Error::from)
        .about(|| path.display())?;
    let entry = |descriptor: &Value| {
        let annotation = |key: &str| descriptor["annotations"][key].as_str();
        // The second annotation is the one of the specification. It may contain only a tag.
        let name = annotation(oci::FULL_NAME)
            .or(annotation(oci::REFERENCE))
            .filter(|name| name.contains('/'))?;
        Some(Entry {
            name: name.to_owned(),
            digest: descriptor["digest"].as_str()?.to_owned(),
            descriptor: descriptor.clone(),
        })
    };
    let manifests = index["manifests"].as_array();
    manifests
        .and_then(|manifests| manifests.iter().map(entry).collect())
        .ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("{}: not every image has a full name", path.display()),
            )
            .expected(
                "manifests with their full names in the annotation `io.containerd.image.name`",
            )
        })
}

/// A directory with `index.json`, `oci-layout` and `blobs/`.
#[derive(Debug)]
pub(super) struct ImageLayout {
    pub(super) directory: PathBuf,
    pub(super) image: Entry,
}

impl ImageLayout {
    /// Reads the index.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("index.json");
        let entries = entries(&fs::read(&path)?, &path)?;
        let found = entries.len();
        let [image] = <[Entry; 1]>::try_from(entries).map_err(|_| {
            Error::new(
                Kind::Input,
                format!("{}: not exactly one image", path.display()),
            )
            .found(format!("{found} images"))
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            image,
        })
    }

    /// The parts of the image: their digests without `sha256:`, and their paths.
    pub(super) fn blobs(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut blobs = Vec::new();
        for entry in fs::read_dir(self.directory.join(BLOBS))? {
            let entry = entry?;
            blobs.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
        blobs.sort();
        Ok(blobs)
    }

    /// Writes a single layout with all these images as a tar stream.
    pub(super) fn write_tar(images: &[Self], to: impl Write) -> Result<()> {
        let mut tar = tar::Builder::new(to);
        let manifests: Vec<_> = images.iter().map(|i| i.image.descriptor.clone()).collect();
        let index = oci::index(&manifests);
        for (name, text) in [("oci-layout", oci::layout()), ("index.json", index)] {
            append(&mut tar, name, text.as_bytes(), text.len() as u64)?;
        }
        // Images may share layers.
        let mut written = BTreeSet::new();
        for image in images {
            for (digest, path) in image.blobs()? {
                if written.insert(digest.clone()) {
                    // The files of a generation are links into the store, so the size is that of the link's target.
                    let size = fs::metadata(&path)?.len();
                    let name = format!("{BLOBS}/{digest}");
                    append(&mut tar, &name, fs::File::open(path)?, size)?;
                }
            }
        }
        Ok(tar.into_inner().map(drop)?)
    }
}

/// Writes an archive with one image. Afterwards it is on the disk.
pub(super) fn write_one(image: &Entry, blobs: &BTreeMap<String, Blob>, file: &Path) -> Result<()> {
    let output = fs::File::create(file)?;
    let mut tar = tar::Builder::new(io::BufWriter::new(output));
    let index = oci::index(std::slice::from_ref(&image.descriptor));
    for (name, text) in [("oci-layout", oci::layout()), ("index.json", index)] {
        append(&mut tar, name, text.as_bytes(), text.len() as u64)?;
    }
    for (digest, blob) in blobs {
        append(
            &mut tar,
            &format!("{BLOBS}/{digest}"),
            blob.open()?,
            blob.size,
        )?;
    }
    let mut output = tar.into_inner()?;
    output.flush()?;
    Ok(output.get_ref().sync_all()?)
}

/// Writes a file of `size` bytes.
fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    from: impl Read,
    size: u64,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    let mut from = from.take(size);
    tar.append_data(&mut header, name, &mut from)
        .about(|| name.to_owned())?;
    if from.limit() > 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).about(|| name.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layout of an image with these blobs. Its index is a link, as in a generation.
    fn layout(dir: &Path, name: &str, blobs: &[(char, usize)]) -> PathBuf {
        let layout = dir.join(name);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        for &(digit, size) in blobs {
            fs::write(layout.join(blob(digit)), digit.to_string().repeat(size)).unwrap();
        }
        let index = format!(
            r#"{{"manifests":[{{"digest":"sha256:{name}","annotations":{{"io.containerd.image.name":"k8s/{name}:3"}}}}]}}"#
        );
        fs::write(dir.join(format!("{name}.index")), index).unwrap();
        fs_err::os::unix::fs::symlink(format!("../{name}.index"), layout.join("index.json"))
            .unwrap();
        layout
    }

    fn blob(digit: char) -> String {
        format!("blobs/sha256/{}", digit.to_string().repeat(64))
    }

    #[test]
    fn tar_can_unpack_the_stream() {
        let dir = tempfile::tempdir().unwrap();
        let directories = [
            layout(dir.path(), "pause", &[('a', 513), ('b', 0)]),
            layout(dir.path(), "dns", &[('a', 513), ('c', 1024)]),
        ];
        let images = directories.map(|directory| ImageLayout::read(&directory).unwrap());
        let mut stream = Vec::new();
        ImageLayout::write_tar(&images, &mut stream).unwrap();
        fs::write(dir.path().join("tar"), stream).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.current_dir(&out)
            .args(["--extract", "--file", "../tar"]);
        assert!(tar.status().unwrap().success());
        for (digit, size) in [('a', 513), ('b', 0), ('c', 1024)] {
            assert_eq!(
                fs::read_to_string(out.join(blob(digit))).unwrap(),
                digit.to_string().repeat(size)
            );
        }
        insta::assert_snapshot!(fs::read_to_string(out.join("index.json")).unwrap(), @r#"{"manifests":[{"annotations":{"io.containerd.image.name":"k8s/pause:3"},"digest":"sha256:pause"},{"annotations":{"io.containerd.image.name":"k8s/dns:3"},"digest":"sha256:dns"}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#);
    }

    #[test]
    fn a_blob_that_shrinks_while_it_is_read_is_an_error() {
        let mut tar = tar::Builder::new(io::sink());
        let error = append(&mut tar, "blobs/sha256/a", &b"abc"[..], 4).unwrap_err();
        assert!(error.message().starts_with("blobs/sha256/a: "), "{error}");
    }

    #[test]
    fn an_index_without_a_full_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [
            r#"{"manifests":[]}"#,
            r#"{"manifests":[{"digest":"sha256:a"}]}"#,
            r#"{"manifests":[{"digest":"sha256:a","annotations":{"org.opencontainers.image.ref.name":"latest"}}]}"#,
            r#"{"manifests":[{"digest":"sha256:a"},{"digest":"sha256:b"}]}"#,
            r#"{"manifests":[{"digest":"sha256:a","annotations":{"io.containerd.image.name":"k8s/a:1"}},{"digest":"sha256:a","annotations":{"io.containerd.image.name":"k8s/a:2"}}]}"#,
        ] {
            fs::write(dir.path().join("index.json"), bad).unwrap();
            let error = ImageLayout::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("index.json: not "), "{error}");
        }
    }
}
