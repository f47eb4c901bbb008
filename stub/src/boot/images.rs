//! Making images known to the container runtime without a network, before the kubelet asks for them.
//!
//! The images of the generation are OCI image layouts, one directory each below its `images/`. The user's own, below
//! `images/` in the data directory, may be that or archives (`*.tar`). containerd imports them ([`import`]); CRI-O, which
//! can only pull, pulls them from a registry that this process is ([`registry`], [`pull`]).

mod contents;
mod import;
mod layout;
mod pull;
mod registry;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

pub(super) use import::Loader;
use layout::ImageLayout;
pub(super) use pull::Offer;

use super::notify::Wait;
use super::{remove_if_there, say};
use crate::error::Result;
use crate::layout::Layout;

/// Directory of the image layouts, in a generation as in the data directory.
const IMAGES: &str = "images";

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
    Ok(ImageLayout::read(&directory)?.image.name)
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

/// The images of the generation, then those of the user.
fn all_sources(layout: &Layout) -> Result<[Vec<PathBuf>; 2]> {
    Ok([
        sources(&layout.generation().join(IMAGES))?,
        sources(&layout.data(IMAGES))?,
    ])
}

fn report(images: &str, started: Instant) {
    say(format!(
        "loaded {images} in {:.1} s",
        started.elapsed().as_secs_f64()
    ));
}

/// One of the user's images cannot be used. That is no reason not to start.
fn report_failure(error: &crate::error::Error) {
    say(format!("image not loaded: {error}"));
}
