//! Loading images without a network, before the kubelet asks for them.
//!
//! The images of the generation are OCI image layouts, one directory each below its `images/`. The user's own, below
//! `images/` in the data directory, may be that or archives (`*.tar`). What a layout holds its index says. What an
//! archive held is remembered beside containerd's data, so that it is read again only when it changed or its images
//! are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::image_layout::ImageLayout;
use super::notify::Wait;
use super::{remove_if_there, say, supervise, write_atomically};
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;

/// Keeps the kubelet's image garbage collection away (containerd, `internal/cri/labels`).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// Names with digests, `registry.k8s.io/pause:3.10.1 sha256:5e…`.
pub(super) type Images = BTreeSet<String>;

/// Directory of the image layouts, in a generation as in the data directory.
const IMAGES: &str = "images";

/// Asks containerd.
pub(super) struct Loader<'a> {
    /// Gives a `ctr` that knows where containerd answers.
    pub ctr: &'a dyn Fn() -> Command,
    /// What the layers are unpacked with.
    pub snapshotter: &'a str,
}

/// The file whose existence says that every image is loaded.
fn loaded_file(layout: &Layout) -> PathBuf {
    layout.runtime("images-loaded")
}

/// Images are to be loaded.
pub(super) fn unset_loaded(layout: &Layout) -> Result<()> {
    remove_if_there(&loaded_file(layout))
}

/// Every image is loaded.
pub(super) fn set_loaded(layout: &Layout) -> Result<()> {
    Ok(fs::write(loaded_file(layout), "")?)
}

/// Waits for that, however long it takes.
pub(super) fn wait_loaded(layout: &Layout) -> Result<()> {
    let mut wait = Wait::begin("images");
    while !loaded_file(layout).exists() {
        wait.goes_on("not all are loaded")?;
        thread::sleep(Duration::from_millis(50));
    }
    wait.end()
}

/// The name of one of the images the generation brings, by the name of its directory.
pub fn bundled_name(layout: &Layout, directory: &str) -> Result<String> {
    let directory = layout.generation().join(IMAGES).join(directory);
    Ok(ImageLayout::read(&directory)?.name)
}

/// The name of the image of sandboxes: the bundle's, or where it has none, as without a kubelet, upstream's.
pub(super) fn pause_name(layout: &Layout) -> Result<String> {
    if layout.generation().join(IMAGES).join("pause").exists() {
        return bundled_name(layout, "pause");
    }
    Ok("registry.k8s.io/pause:3.10".to_owned())
}

/// The layouts and archives in a directory, sorted.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "tar") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Loader<'_> {
    /// Loads what containerd does not have yet. Images of the generation must load; one of the user's that does not
    /// is reported and passed over.
    pub(super) fn load(&self, layout: &Layout) -> Result<()> {
        let bundled = sources(&layout.generation().join(IMAGES))?;
        let own = sources(&layout.data(IMAGES))?;
        if bundled.is_empty() && own.is_empty() {
            return Ok(());
        }
        let mut present = self.list()?;
        self.load_layouts(&bundled, &mut present)?;
        let record = layout.data("containerd").join("loaded-archives.json");
        let before = read_record(&record)?;
        let mut after = BTreeMap::new();
        for source in own {
            let outcome = if source.is_dir() {
                self.load_layouts(std::slice::from_ref(&source), &mut present)
            } else {
                identity(&source).and_then(|identity| {
                    let images = self.load_archive(&source, before.get(&identity), &mut present)?;
                    after.insert(identity, images);
                    Ok(())
                })
            };
            if let Err(error) = outcome.about(|| source.display()) {
                say(format!("image not loaded: {error}"));
            }
        }
        if after == before {
            return Ok(());
        }
        write_atomically(
            &record,
            &serde_json::to_vec(&after).map_err(io::Error::from)?,
        )
    }

    /// Loads the images of layouts, all at once.
    fn load_layouts(&self, directories: &[PathBuf], present: &mut Images) -> Result<()> {
        let mut missing = Vec::new();
        for directory in directories {
            let image = ImageLayout::read(directory)?;
            if !present.contains(&row_of(&image)) {
                missing.push(image);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut import = self
            .import("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .about(|| "`ctr`")?;
        let sent = import
            .stdin
            .take()
            .map_or(Ok(()), |stdin| ImageLayout::write_tar(&missing, stdin));
        let status = import.wait()?;
        if !status.success() {
            // It said why itself, on the stderr it shares with this process.
            return Err(Error::new(
                Kind::Failed,
                format!("`ctr images import` failed: {status}"),
            ));
        }
        sent?;
        *present = self.list()?;
        for image in missing {
            let wanted = row_of(&image);
            if !present.contains(&wanted) {
                return Err(Error::new(
                    Kind::Integrity,
                    format!("image {} is not there after it was loaded", image.name),
                )
                .expected(wanted));
            }
            report(&wanted, started);
        }
        Ok(())
    }

    fn load_archive(
        &self,
        archive: &Path,
        known: Option<&Images>,
        present: &mut Images,
    ) -> Result<Images> {
        if let Some(images) = known.filter(|images| images.is_subset(present)) {
            return Ok(images.clone());
        }
        let started = Instant::now();
        supervise::output(self.import(archive))?;
        let now = self.list()?;
        let new: Images = now.difference(present).cloned().collect();
        let names = new
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        report(
            if new.is_empty() {
                "nothing new"
            } else {
                &names
            },
            started,
        );
        *present = now;
        Ok(new)
    }

    fn import(&self, from: impl AsRef<Path>) -> Command {
        let mut command = (self.ctr)();
        command
            .args([
                "--namespace",
                "k8s.io",
                "images",
                "import",
                "--label",
                PINNED,
            ])
            .args(["--snapshotter", self.snapshotter])
            .arg(from.as_ref());
        command
    }

    /// All images there are.
    fn list(&self) -> Result<Images> {
        let mut command = (self.ctr)();
        command.args(["--namespace", "k8s.io", "images", "list"]);
        Ok(parse(&supervise::output(command)?))
    }
}

fn row_of(image: &ImageLayout) -> String {
    format!("{} {}", image.name, image.digest)
}

fn report(images: &str, started: Instant) {
    say(format!(
        "loaded {images} in {:.1} s",
        started.elapsed().as_secs_f64()
    ));
}

/// What each archive held, by [`identity`]. A damaged record costs a second reading of the archives, no more.
fn read_record(record: &Path) -> Result<BTreeMap<String, Images>> {
    match fs::read(record) {
        Ok(json) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

/// What changes when an archive is replaced: where it lies, its size and when it was written.
fn identity(archive: &Path) -> Result<String> {
    let file = fs::canonicalize(archive)?;
    let metadata = fs::metadata(&file)?;
    Ok(format!(
        "{} {} {}.{:09}",
        file.display(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec()
    ))
}

/// `ctr` prints a table `REF TYPE DIGEST SIZE …`.
fn parse(table: &str) -> Images {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, _, digest) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{name} {digest}"))
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests;
