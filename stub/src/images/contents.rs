//! The images in an image layout. It may be a directory, or a tar archive as `docker save`, `skopeo copy … oci-archive:` and
//! `ctr images export` write it. Archives are read without unpacking them.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::layout::{BLOBS, Entry, ImageLayout, entries};
use crate::error::{Context, Error, Kind, Result};

/// The longest index that is read, in bytes.
const LONGEST_INDEX: u64 = 4 << 20;

/// The place of a part of an image: a file, or a range of bytes in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    file: PathBuf,
    offset: u64,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Blob {
    /// A whole file.
    pub(super) fn file(path: &Path) -> Result<Self> {
        Ok(Self {
            file: path.to_owned(),
            offset: 0,
            size: fs::metadata(path)?.len(),
        })
    }

    /// Reads its bytes. They are not checked against the digest, because the container runtime does that.
    pub(super) fn open(&self) -> Result<impl Read> {
        let mut file = fs::File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.size))
    }
}

/// The images of a directory or archive, and their parts.
#[derive(Debug)]
pub(super) struct Contents {
    /// The images.
    pub(super) images: Vec<Entry>,
    /// The parts of all images, by their digests without `sha256:`.
    pub(super) blobs: BTreeMap<String, Blob>,
}

impl Contents {
    /// Finds the images in a layout, or in an archive of a layout.
    pub(super) fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let layout = ImageLayout::read(path)?;
            let blobs = layout.blobs()?.into_iter();
            return Ok(Self {
                blobs: blobs
                    .map(|(digest, path)| Ok((digest, Blob::file(&path)?)))
                    .collect::<Result<_>>()?,
                images: vec![layout.image],
            });
        }
        Self::of_archive(path)
    }

    fn of_archive(path: &Path) -> Result<Self> {
        let mut index = None;
        let mut blobs = BTreeMap::new();
        let file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        let mut tar = tar::Archive::new(file);
        for entry in tar.entries_with_seek().about(|| path.display())? {
            let mut entry = entry.about(|| path.display())?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            // Contents are skipped here, so nothing else notices that they are not there.
            let end = entry.raw_file_position().saturating_add(entry.size());
            if end > length {
                return Err(Error::new(Kind::Integrity, "this archive is cut short")
                    .expected(format!("{end} bytes or more"))
                    .found(format!("{length} bytes"))
                    .hint("copy or make it again"));
            }
            let name = entry.path().about(|| path.display())?.into_owned();
            let name = name.strip_prefix(".").unwrap_or(&name);
            if name == Path::new("index.json") {
                let mut bytes = Vec::new();
                entry.by_ref().take(LONGEST_INDEX).read_to_end(&mut bytes)?;
                index = Some(bytes);
            } else if let Ok(digest) = name.strip_prefix(BLOBS) {
                let blob = Blob {
                    file: path.to_owned(),
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                };
                blobs.insert(digest.to_string_lossy().into_owned(), blob);
            }
        }
        let index = index.ok_or_else(|| {
            Error::new(Kind::Input, "this archive does not contain an image layout")
                .expected("a file `index.json`, as in archives of the Open Container Initiative")
                .hint("write the archive with Docker 25 or later, or convert it with `skopeo copy docker-archive:OLD oci-archive:NEW:NAME`")
        })?;
        Ok(Self {
            images: entries(&index, Path::new("index.json"))?,
            blobs,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;

    use super::*;

    /// An archive with these files.
    pub(in crate::images) fn archive(path: &Path, files: &[(&str, &str)]) {
        let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.finish().unwrap();
    }

    const INDEX: &str = r#"{"manifests":[{"digest":"sha256:a","annotations":{"io.containerd.image.name":"x.example/a:1"}},{"digest":"sha256:b","annotations":{"io.containerd.image.name":"x.example/b:2"}}]}"#;

    #[test]
    fn images_and_their_parts_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("two.tar");
        archive(
            &path,
            &[
                ("blobs/sha256/a", "first"),
                ("index.json", INDEX),
                ("./blobs/sha256/b", "the second"),
            ],
        );
        let found = Contents::of(&path).unwrap();
        let names: Vec<_> = found.images.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["x.example/a:1", "x.example/b:2"]);
        for (digest, text) in [("a", "first"), ("b", "the second")] {
            let read = io::read_to_string(found.blobs[digest].open().unwrap()).unwrap();
            assert_eq!(read, text);
        }
    }

    #[test]
    fn other_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.tar");
        archive(&path, &[("manifest.json", "[]")]);
        insta::assert_snapshot!(Contents::of(&path).unwrap_err(), @r"
        this archive does not contain an image layout
          expected  a file `index.json`, as in archives of the Open Container Initiative

        hint: write the archive with Docker 25 or later, or convert it with `skopeo copy docker-archive:OLD oci-archive:NEW:NAME`
        ");
        archive(
            &path,
            &[("blobs/sha256/a", "the first"), ("index.json", INDEX)],
        );
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..515]).unwrap();
        let error = Contents::of(&path).unwrap_err();
        assert_eq!(error.message(), "this archive is cut short");
        fs::write(
            &path,
            "no archive at all, however long it may be".repeat(50),
        )
        .unwrap();
        let error = Contents::of(&path).unwrap_err().to_string();
        assert!(error.contains("old.tar"), "{error}");
        archive(&path, &[("index.json", "{")]);
        assert!(Contents::of(&path).is_err());
    }
}
