//! Loads images into containerd with `ctr images import`.
//!
//! The index of a layout names its images. For an archive, the names are recorded in containerd's data directory, so that it
//! is imported again only if it has changed, has been missing in between, or its images have been removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use fs_err as fs;

use super::contents::Contents;
use super::layout::{Entry, ImageLayout};
use super::{all_sources, report, report_failure};
use crate::error::{Context, Error, Kind, Result};
use crate::files::write_atomically;
use crate::layout::Layout;
use crate::process::supervise;

/// The label that protects an image from the kubelet's garbage collection (containerd, `internal/cri/labels`).
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// The option with which `ctr` writes contents to containerd itself. Without it, it passes the archive in small pieces on to
/// containerd's transfer service. For 183 MB, that alone took 5.5 s where the whole import with this option took 4 s.
const LOCAL: &str = "--local";

/// Images by name and digest, for example `registry.k8s.io/pause:3.10.1 sha256:5e…`.
type Images = BTreeSet<String>;

/// Loads images into containerd.
pub(crate) struct Loader<'a> {
    /// Returns a `ctr` with the address of containerd's socket.
    pub ctr: &'a dyn Fn() -> Command,
    /// The name of the snapshotter that unpacks the layers.
    pub snapshotter: &'a str,
}

impl Loader<'_> {
    /// Loads the images that containerd does not have yet. If an image of the generation cannot be loaded, this fails. If
    /// one of the user's cannot be loaded, this is reported, and the others are loaded.
    pub(crate) fn load(&self, layout: &Layout) -> Result<()> {
        let [bundled, own] = all_sources(layout)?;
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
                report_failure(&error);
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
            if !present.contains(&row_of(&image.image)) {
                missing.push(image);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut import = self
            .import("-")?
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
            // It has written the reason to the stderr that it shares with this process.
            return Err(Error::new(
                Kind::Failed,
                format!("`ctr images import` failed: {status}"),
            ));
        }
        sent?;
        *present = self.list()?;
        for image in missing {
            let wanted = row_of(&image.image);
            if !present.contains(&wanted) {
                return Err(Error::new(
                    Kind::Integrity,
                    format!("image {} is missing after it was loaded", image.image.name),
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
        supervise::output(self.import(archive)?)?;
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
        Ok(held(archive, new, present))
    }

    fn import(&self, from: impl AsRef<Path>) -> Result<Command> {
        let mut command = self.images("import");
        command
            .args(["--label", PINNED])
            .args(["--snapshotter", self.snapshotter])
            .args(self.takes_local()?.then_some(LOCAL))
            .arg(from.as_ref());
        Ok(command)
    }

    /// Whether this `ctr` has the choice to import images itself. containerd before 1.7 has no other way.
    fn takes_local(&self) -> Result<bool> {
        let mut help = self.images("import");
        help.arg("--help");
        Ok(supervise::output(help)?.contains(LOCAL))
    }

    fn images(&self, verb: &str) -> Command {
        let mut command = (self.ctr)();
        command.args(["--namespace", "k8s.io", "images", verb]);
        command
    }

    /// All images that containerd has.
    fn list(&self) -> Result<Images> {
        Ok(parse(&supervise::output(self.images("list"))?))
    }
}

fn row_of(image: &Entry) -> String {
    format!("{} {}", image.name, image.digest)
}

/// The images of an archive that has just been imported. `present` are all images that containerd has now, `new` are those
/// that it did not have before; the archive may contain more images than these. If the archive does not name its images and
/// none is new, any image may come from it. Then the archive is imported again as soon as any image is removed.
fn held(archive: &Path, new: Images, present: &Images) -> Images {
    let rows = Contents::of(archive).map(|contents| {
        let rows = contents.images.iter().map(row_of);
        rows.filter(|row| present.contains(row)).collect()
    });
    let known = rows.unwrap_or_default();
    [known, new]
        .into_iter()
        .find(|images| !images.is_empty())
        .unwrap_or_else(|| present.clone())
}

/// The images of each archive, by [`identity`]. If the record is damaged, it is empty, and the archives are imported again.
fn read_record(record: &Path) -> Result<BTreeMap<String, Images>> {
    match fs::read(record) {
        Ok(json) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

/// A text that changes when an archive is replaced: its path, its size and the time when it was written.
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

/// Parses the table of `ctr`: `REF TYPE DIGEST SIZE …`.
pub(super) fn parse(table: &str) -> Images {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, _, digest) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{name} {digest}"))
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests;
