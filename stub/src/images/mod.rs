//! Loads images into the container runtime without a network, before the kubelet needs them.
//!
//! Each image of the generation is an OCI image layout, a directory in its `images/`. The user's own images are in `images/`
//! in the data directory, as layouts or as archives (`*.tar`). containerd imports them ([`import`]). CRI-O can only pull
//! images, so it pulls them from a registry in this process ([`registry`], [`pull`]).

mod contents;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod import;
mod layout;
mod own;
mod pull;
mod registry;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;

pub(crate) use import::Loader;
use layout::ImageLayout;
pub use own::{Stored, forget, is_given, of_crictl, of_ctr, stored, take};
pub(crate) use pull::Offer;

use crate::error::{Context, Error, Kind, Result};
use crate::files::remove_if_there;
use crate::layout::Layout;
use crate::process::notify::Wait;
use crate::process::say;

/// The directory of images, in a generation and in the data directory.
const IMAGES: &str = "images";

/// The socket on which other processes wait until the images are loaded.
fn socket(layout: &Layout) -> PathBuf {
    layout.runtime("images.sock")
}

/// The message to the waiting processes.
const LOADED: &[u8] = b"loaded";

/// The processes that wait for the images.
pub(crate) struct Waiters(UnixListener);

impl Waiters {
    /// Creates the socket. From now on, other processes can wait.
    pub(crate) fn admit(layout: &Layout) -> Result<Self> {
        let path = socket(layout);
        remove_if_there(&path)?;
        Ok(Self(
            UnixListener::bind(&path).about(|| format!("`{}`", path.display()))?,
        ))
    }

    /// Tells every process that waits, now or later, that the images are loaded. Runs as long as this process.
    pub(crate) fn tell(self) {
        for client in self.0.incoming().flatten() {
            // This fails only if the process does not wait any more.
            let _ = (&client).write_all(LOADED);
        }
    }
}

/// Waits until the images are loaded, however long it takes.
pub(crate) fn wait_loaded(layout: &Layout) -> Result<()> {
    let path = socket(layout);
    let mut client = UnixStream::connect(&path).about(|| format!("`{}`", path.display()))?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut wait = Wait::begin("images");
    let mut said = Vec::new();
    loop {
        match client.read_to_end(&mut said) {
            Ok(_) if said == LOADED => return wait.end(),
            Ok(_) => {
                return Err(Error::new(Kind::Failed, "the images were not loaded")
                    .hint("`usernetes logs u7s-rootlesskit.service` shows the reason"));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait.goes_on("not all are loaded")?;
            }
            Err(error) => return Err(error).about(|| format!("`{}`", path.display())),
        }
    }
}

/// The name of an image of the generation, found by the name of its directory.
pub fn bundled_name(layout: &Layout, directory: &str) -> Result<String> {
    let directory = layout.generation().join(IMAGES).join(directory);
    Ok(ImageLayout::read(&directory)?.image.name)
}

/// The same; `None` if the generation does not bring that image.
pub fn name_if_bundled(layout: &Layout, directory: &str) -> Result<Option<String>> {
    let there = layout.generation().join(IMAGES).join(directory).exists();
    there.then(|| bundled_name(layout, directory)).transpose()
}

/// The name of the image for pod sandboxes. If the bundle has no such image, for example because it has no kubelet, it is
/// the name that Kubernetes uses.
pub(crate) fn pause_name(layout: &Layout) -> Result<String> {
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

/// Reports that one of the user's images cannot be used. The cluster starts without it.
fn report_failure(error: &Error) {
    say(format!("image not loaded: {error}"));
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn layout(dir: &Path) -> Layout {
        let dir = |name: &str| dir.join(name);
        fs::create_dir_all(dir("run")).unwrap();
        Layout::new(dir("config"), dir("data"), dir("run"), dir("gen")).unwrap()
    }

    #[test]
    fn processes_that_wait_before_or_after_the_images_are_loaded_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let waiters = Waiters::admit(&layout).unwrap();
        let early = thread::spawn({
            let layout = layout.clone();
            move || wait_loaded(&layout)
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!early.is_finished());
        thread::spawn(|| waiters.tell());
        early.join().unwrap().unwrap();
        wait_loaded(&layout).unwrap();
    }

    #[test]
    fn waiting_fails_if_the_images_cannot_be_loaded_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let waiters = Waiters::admit(&layout).unwrap();
        let waiting = thread::spawn({
            let layout = layout.clone();
            move || wait_loaded(&layout)
        });
        thread::sleep(Duration::from_millis(50));
        drop(waiters);
        assert!(waiting.join().unwrap().is_err());
        assert!(wait_loaded(&layout).is_err());
    }
}
