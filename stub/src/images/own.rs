//! The user's own images: each in an archive of its own in `images/` in the data directory, from where every start of the
//! cluster loads it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

use super::contents::{Blob, Contents};
use super::layout::{Entry, write_one};
use super::{IMAGES, all_sources};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{private_directory, remove_tree, sync_parent, temporary};
use crate::layout::Layout;

/// The longest document of an image that is looked into for references, in bytes.
const LONGEST_DOCUMENT: u64 = 4 << 20;

/// An image that is in a file of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest, or of its index of platforms.
    pub digest: String,
    /// The archive or the directory it is in.
    pub file: PathBuf,
    /// Whether the bundle brought it.
    pub bundled: bool,
}

/// All images of the generation and of the user. Files of the user's that cannot be read are named in errors.
pub fn stored(layout: &Layout) -> Result<(Vec<Stored>, Vec<Error>)> {
    let [bundled, own] = all_sources(layout)?;
    let (mut found, mut bad) = (Vec::new(), Vec::new());
    let marked = bundled.iter().map(|path| (path, true));
    for (path, bundled) in marked.chain(own.iter().map(|path| (path, false))) {
        match Contents::of(path).about(|| path.display()) {
            Ok(contents) => found.extend(contents.images.into_iter().map(|image| Stored {
                name: image.name,
                digest: image.digest,
                file: path.clone(),
                bundled,
            })),
            Err(error) => bad.push(error),
        }
    }
    Ok((found, bad))
}

/// Takes the images of an archive or a layout over into `images/`, each in an archive of its own. One of the same name is
/// replaced. All bytes are checked before anything is written. Afterwards they are on the disk.
pub fn take(source: &Path, layout: &Layout) -> Result<Vec<Stored>> {
    check_form(source)?;
    let contents = Contents::of(source).about(|| source.display())?;
    let bundled = stored(layout)?.0.into_iter().filter(|image| image.bundled);
    let bundled: BTreeSet<String> = bundled.map(|image| image.name).collect();
    if let Some(image) = contents.images.iter().find(|i| bundled.contains(&i.name)) {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "{}: the image {} comes with the bundle",
                source.display(),
                image.name
            ),
        )
        .expected("an image of another name"));
    }
    let mut parts = Vec::new();
    for image in &contents.images {
        parts.push(closure(image, &contents.blobs).about(|| source.display())?);
    }
    let dir = layout.data(IMAGES);
    private_directory(&dir)?;
    let mut taken = Vec::new();
    for (image, blobs) in contents.images.iter().zip(&parts) {
        let file = dir.join(file_name(&image.name));
        let new = temporary(&file);
        let written = write_one(image, blobs, &new).and_then(|()| {
            fs::rename(&new, &file)?;
            sync_parent(&file)
        });
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        taken.push(Stored {
            name: image.name.clone(),
            digest: image.digest.clone(),
            file,
            bundled: false,
        });
    }
    Ok(taken)
}

/// Removes the files with these images. Fails, and removes nothing, if one of them has another image, too.
pub fn forget(names: &BTreeSet<String>, stored: &[Stored]) -> Result<Vec<PathBuf>> {
    let own: Vec<_> = stored.iter().filter(|image| !image.bundled).collect();
    let named = own.iter().filter(|image| names.contains(&image.name));
    let files: BTreeSet<&PathBuf> = named.map(|image| &image.file).collect();
    for file in &files {
        let mut others = own
            .iter()
            .filter(|i| i.file == **file && !names.contains(&i.name));
        if let Some(other) = others.next() {
            return Err(Error::new(
                Kind::Usage,
                format!("{} has another image, too", file.display()),
            )
            .found(&other.name)
            .hint(format!(
                "name all images of the file, or run `usernetes image load {}` first, which gives each a file of its own, and then remove that one",
                crate::shell::word(&file.display().to_string())
            )));
        }
    }
    for file in &files {
        remove_tree(file)?;
    }
    Ok(files.into_iter().cloned().collect())
}

/// The name of the archive of an image. Different images have different names, except for very unusual ones.
fn file_name(image: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let short: String = image.chars().map(plain).take(150).collect();
    // `a/b:1` and `a_b_1` would be the same.
    format!("{short}-{}.tar", Sha256::of(image.as_bytes()).short(8))
}

/// Fails for a compressed archive, with the next step.
fn check_form(source: &Path) -> Result<()> {
    if source.is_dir() {
        return Ok(());
    }
    let mut head = Vec::new();
    fs::File::open(source)?.take(6).read_to_end(&mut head)?;
    let program = match head.as_slice() {
        [0x1f, 0x8b, ..] => "gunzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "unzstd",
        [0xfd, b'7', b'z', ..] => "unxz",
        [b'B', b'Z', b'h', ..] => "bunzip2",
        _ => return Ok(()),
    };
    Err(
        Error::new(Kind::Input, format!("{} is compressed", source.display()))
            .expected("an archive that is not compressed: its layers are, as a rule")
            .hint(format!("run `{program}` on it first")),
    )
}

/// The parts that an image consists of, with all bytes compared with their digests. Parts for other platforms may be missing.
pub(super) fn closure(
    image: &Entry,
    all: &BTreeMap<String, Blob>,
) -> Result<BTreeMap<String, Blob>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(image.digest.clone(), true)];
    while let Some((digest, needed)) = waiting.pop() {
        let hex = digest.strip_prefix("sha256:").unwrap_or(&digest);
        if found.contains_key(hex) {
            continue;
        }
        let Some(blob) = all.get(hex) else {
            if needed {
                return Err(damaged(&image.name, &digest).found("it is missing"));
            }
            continue;
        };
        let (sha256, _) = Sha256::of_reader(blob.open()?)?;
        if sha256.to_string() != hex {
            return Err(damaged(&image.name, &digest).expected(hex).found(sha256));
        }
        found.insert(hex.to_owned(), blob.clone());
        waiting.extend(references(blob)?);
    }
    Ok(found)
}

fn damaged(name: &str, digest: &str) -> Error {
    Error::new(
        Kind::Integrity,
        format!("image {name}: the part {digest} is damaged"),
    )
    .hint("make or copy the archive again; nothing was changed")
}

/// The digests that a manifest or an index refers to, and whether the image cannot do without. A layer or a configuration
/// refers to nothing.
fn references(blob: &Blob) -> Result<Vec<(String, bool)>> {
    if blob.size > LONGEST_DOCUMENT {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    blob.open()?.read_to_end(&mut bytes)?;
    let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(Vec::new());
    };
    let digest = |value: &Value| Some(value.get("digest")?.as_str()?.to_owned());
    let list = |key: &str| {
        let items = document.get(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(digest)
    };
    let mut all: Vec<_> = list("manifests").map(|digest| (digest, false)).collect();
    all.extend(list("layers").map(|digest| (digest, true)));
    if document.get("layers").is_some() {
        all.extend(document.get("config").and_then(digest).map(|d| (d, true)));
    }
    Ok(all)
}

/// The parts of a list of images that `ctr` prints: full names and digests. Its own other names of the same images are left
/// out, which begin with or contain a digest.
#[must_use]
pub fn of_ctr(table: &str) -> BTreeMap<String, String> {
    let rows = super::import::parse(table).into_iter();
    let pairs = rows.filter_map(|row| {
        let (name, digest) = row.split_once(' ')?;
        Some((name.to_owned(), digest.to_owned()))
    });
    pairs.collect()
}

/// The same of a list that `crictl images --output json` prints. An image that has no digest of its own has an empty one.
pub fn of_crictl(list: &str) -> Result<BTreeMap<String, String>> {
    let list: Value = serde_json::from_str(list)
        .map_err(io::Error::from)
        .about(|| "the list of images of `crictl`")?;
    let mut found = BTreeMap::new();
    for image in list["images"].as_array().into_iter().flatten() {
        let texts = |key: &str| {
            let items = image[key].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let digest = texts("repoDigests")
            .into_iter()
            .find_map(|d| d.split_once('@'));
        let digest = digest.map_or("", |(_, digest)| digest);
        for tag in texts("repoTags") {
            found.insert(tag.to_owned(), digest.to_owned());
        }
    }
    Ok(found)
}

/// Whether a name is one that people give, and not one that a container runtime makes of a digest.
#[must_use]
pub fn is_given(name: &str) -> bool {
    !name.starts_with("sha256:") && !name.contains('@')
}

#[cfg(test)]
mod tests {
    use super::super::contents::tests::archive;
    use super::*;

    /// An archive with images of these names, which share a layer. Gives the digests.
    fn save(path: &Path, names: &[&str]) -> Vec<String> {
        let hex = |text: &str| Sha256::of(text.as_bytes()).to_string();
        let mut blobs = vec![(hex("layer"), "layer".to_owned())];
        let mut entries = Vec::new();
        let mut digests = Vec::new();
        for name in names {
            let config = format!("{{\"name\":\"{name}\"}}");
            let manifest = format!(
                r#"{{"config":{{"digest":"sha256:{}"}},"layers":[{{"digest":"sha256:{}"}}]}}"#,
                hex(&config),
                hex("layer")
            );
            // The other platform is not in the archive.
            let index = format!(
                r#"{{"manifests":[{{"digest":"sha256:{}"}},{{"digest":"sha256:{}"}}]}}"#,
                hex(&manifest),
                hex("elsewhere")
            );
            entries.push(format!(
                r#"{{"digest":"sha256:{}","annotations":{{"io.containerd.image.name":"{name}"}}}}"#,
                hex(&index)
            ));
            digests.push(format!("sha256:{}", hex(&index)));
            blobs.extend([config, manifest, index].map(|text| (hex(&text), text)));
        }
        let index = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        let names: Vec<_> = blobs
            .iter()
            .map(|(hex, _)| format!("blobs/sha256/{hex}"))
            .collect();
        let mut files = vec![("index.json", index.as_str())];
        files.extend(
            names
                .iter()
                .zip(&blobs)
                .map(|(n, (_, text))| (n.as_str(), text.as_str())),
        );
        archive(path, &files);
        digests
    }

    fn layout(dir: &Path) -> Layout {
        let dir = |name: &str| dir.join(name);
        Layout::new(dir("config"), dir("data"), dir("run"), dir("gen")).unwrap()
    }

    #[test]
    fn each_image_of_an_archive_gets_its_own_and_a_new_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let source = dir.path().join("two.tar");
        let names = ["x.example/a:1", "x.example/b:1"];
        let digests = save(&source, &names);
        let taken = take(&source, &layout).unwrap();
        for (image, (name, digest)) in taken.iter().zip(names.iter().zip(&digests)) {
            let contents = Contents::of(&image.file).unwrap();
            assert_eq!(contents.images.len(), 1);
            assert_eq!(
                (&*contents.images[0].name, &contents.images[0].digest),
                (*name, digest)
            );
            // Index, manifest, configuration, layer.
            assert_eq!(contents.blobs.len(), 4);
        }
        assert_eq!(stored(&layout).unwrap().0, taken);
        // From its own archive to itself.
        assert_eq!(take(&taken[0].file, &layout).unwrap(), taken[..1]);
        assert_eq!(stored(&layout).unwrap().0.len(), 2);
        let name = BTreeSet::from([names[0].to_owned()]);
        assert_eq!(forget(&name, &taken).unwrap(), [taken[0].file.clone()]);
        assert_eq!(stored(&layout).unwrap().0, taken[1..]);
    }

    #[test]
    fn an_archive_that_the_user_put_there_is_not_removed_with_another_image() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let file = layout.data(IMAGES).join("two.tar");
        fs::create_dir_all(layout.data(IMAGES)).unwrap();
        save(&file, &["x.example/a:1", "x.example/b:1"]);
        fs::write(layout.data(IMAGES).join("bad.tar"), "x".repeat(2000)).unwrap();
        let (found, bad) = stored(&layout).unwrap();
        assert_eq!(bad.len(), 1);
        assert!(bad[0].message().contains("bad.tar"), "{}", bad[0]);
        let mut names = BTreeSet::from(["x.example/a:1".to_owned()]);
        let error = forget(&names, &found).unwrap_err().to_string();
        assert!(error.contains("x.example/b:1") && file.exists(), "{error}");
        names.insert("x.example/b:1".to_owned());
        assert_eq!(forget(&names, &found).unwrap(), std::slice::from_ref(&file));
        assert!(!file.exists());
    }

    #[test]
    fn damaged_and_compressed_archives_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let source = dir.path().join("a.tar");
        save(&source, &["x.example/a:1"]);
        let good = fs::read(&source).unwrap();
        let at = good.windows(5).position(|w| w == b"layer").unwrap();
        // The first one is the text of the layer itself, after the index.
        let layer = good.windows(6).position(|w| w == b"layer\0").unwrap();
        assert!(at <= layer);
        let mut bad = good.clone();
        bad[layer] ^= 1;
        fs::write(&source, &bad).unwrap();
        let error = take(&source, &layout).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
        fs::write(&source, b"\x1f\x8b\x08\0\0\0").unwrap();
        let error = take(&source, &layout).unwrap_err().to_string();
        assert!(error.contains("run `gunzip` on it first"), "{error}");
        assert!(!layout.data(IMAGES).exists());
    }

    #[test]
    fn lists_of_both_runtimes_are_read() {
        let ctr = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
            x.example/a:1 application/vnd.oci.image.index.v1+json sha256:aa 1.0 MiB linux/amd64 -\n\
            sha256:cc application/vnd.oci.image.index.v1+json sha256:aa 1.0 MiB linux/amd64 -\n";
        let found = of_ctr(ctr);
        assert_eq!(found["x.example/a:1"], "sha256:aa");
        assert_eq!(found.keys().filter(|name| is_given(name)).count(), 1);
        let crictl = r#"{"images":[{"id":"1","repoTags":["x.example/a:1","x.example/a:2"],"repoDigests":["x.example/a@sha256:aa"]},{"id":"2","repoTags":[],"repoDigests":[]}]}"#;
        let found = of_crictl(crictl).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["x.example/a:2"], "sha256:aa");
        assert!(of_crictl("{").is_err());
    }

    #[test]
    fn names_of_files_differ_where_names_of_images_do() {
        let [one, other] = ["a/b:1", "a_b:1"].map(file_name);
        assert!(one.starts_with("a_b_1-") && other.starts_with("a_b_1-") && one != other);
        assert!(file_name(&"x".repeat(500)).len() < 200);
    }
}
