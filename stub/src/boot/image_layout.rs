//! OCI image layouts holding one image each (Open Container Initiative, Image Layout Specification 1.1), and their form as
//! a stream, which is what container runtimes take.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Value, json};

use crate::error::{Context, Error, Kind, Result};

/// A directory with `index.json`, `oci-layout` and `blobs/`.
#[derive(Debug)]
pub(super) struct ImageLayout {
    directory: PathBuf,
    /// Its full name, for example `registry.k8s.io/pause:3.10.1`.
    pub(super) name: String,
    /// Digest of its manifest, or of its index of platforms.
    pub(super) digest: String,
    /// What its index says of it.
    descriptor: Value,
}

impl ImageLayout {
    /// Reads the index.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path)?)
            .map_err(io::Error::from)
            .about(|| path.display())?;
        let descriptor = match index["manifests"].as_array_mut().map(Vec::as_mut_slice) {
            Some([one]) => one.take(),
            _ => Value::Null,
        };
        let annotation = |key: &str| descriptor["annotations"][key].as_str();
        // The second is the specification's, and may be a tag only.
        let name = annotation("io.containerd.image.name")
            .or(annotation("org.opencontainers.image.ref.name"));
        let (Some(name), Some(digest)) = (
            name.filter(|name| name.contains('/')),
            descriptor["digest"].as_str(),
        ) else {
            return Err(Error::new(
                Kind::Input,
                format!("{}: not the index of one image", path.display()),
            )
            .expected(
                "one manifest, with its full name in the annotation `io.containerd.image.name`",
            ));
        };
        Ok(Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            digest: digest.to_owned(),
            descriptor,
        })
    }

    /// Writes one layout with all these images as a tar stream.
    pub(super) fn write_tar(images: &[Self], mut to: impl Write) -> Result<()> {
        let manifests: Vec<_> = images.iter().map(|image| &image.descriptor).collect();
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        for (name, text) in [("oci-layout", version), ("index.json", index)] {
            append(&mut to, Path::new(name), text.as_bytes(), text.len() as u64)?;
        }
        // Images may share layers.
        let mut written = BTreeSet::new();
        for image in images {
            let blobs = Path::new("blobs/sha256");
            for entry in fs::read_dir(image.directory.join(blobs))? {
                let entry = entry?;
                let name = blobs.join(entry.file_name());
                if written.insert(name.clone()) {
                    // The generation is made of links into the store.
                    let size = fs::metadata(entry.path())?.len();
                    append(&mut to, &name, fs::File::open(entry.path())?, size)?;
                }
            }
        }
        Ok(to.write_all(&[0; 2 * BLOCK])?)
    }
}

/// Everything in a tar stream begins at a multiple of it.
const BLOCK: usize = 512;

/// Writes a file of so many bytes.
fn append(to: &mut impl Write, path: &Path, from: impl Read, size: u64) -> Result<()> {
    to.write_all(&header(path, size)?)?;
    let copied = io::copy(&mut from.take(size), to)?;
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    if copied < size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).about(|| path.display());
    }
    Ok(io::copy(&mut io::repeat(0).take(padding), to).map(drop)?)
}

/// A file's header (POSIX.1-2001, pax, "ustar Interchange Format").
fn header(path: &Path, size: u64) -> Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    let name = path.as_os_str().as_encoded_bytes();
    if name.len() > 100 || size >= 1 << 33 {
        return Err(Error::new(
            Kind::Input,
            format!("{}: no file of an image layout", path.display()),
        )
        .expected("a name of at most 100 bytes and less than 8 GB"));
    }
    put(0, name);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layout of an image with these blobs, whose index is a link as in a generation.
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
    fn the_stream_is_what_tar_understands() {
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
        insta::assert_snapshot!(fs::read_to_string(out.join("index.json")).unwrap(), @r#"{"manifests":[{"annotations":{"io.containerd.image.name":"k8s/pause:3"},"digest":"sha256:pause"},{"annotations":{"io.containerd.image.name":"k8s/dns:3"},"digest":"sha256:dns"}],"schemaVersion":2}"#);
    }

    #[test]
    fn a_blob_that_shrinks_is_noticed() {
        let error =
            append(&mut io::sink(), Path::new("blobs/sha256/a"), &b"abc"[..], 4).unwrap_err();
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
        ] {
            fs::write(dir.path().join("index.json"), bad).unwrap();
            let error = ImageLayout::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("not the index of one image"), "{error}");
        }
    }
}
