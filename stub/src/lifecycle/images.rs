//! The images of a cluster: the user's own, which are loaded without a restart and again at every start, and all others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::child::{self, Ended};
use crate::cluster::Current;
use crate::config::Cri;
use crate::error::{Context as _, Error, Kind, Result};
use crate::images::{self, Stored, is_given};
use crate::paths::XDG_RUNTIME_DIR;
use crate::progress::Progress;
use crate::protocol;
use crate::store::Store;

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The bundle brought it.
    Bundle,
    /// The user loaded it; it is in a file in `images/`.
    Own,
    /// The container runtime got it in another way: it was pulled, or imported with `ctr`.
    Pulled,
}

impl Origin {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Own => "own",
            Self::Pulled => "pulled",
        }
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest, or of its index of platforms.
    pub digest: String,
    /// Where it came from.
    pub origin: Origin,
    /// Whether the container runtime has it; `None` if that does not run.
    pub loaded: Option<bool>,
}

/// Takes images over from archives or layouts, and loads them into the container runtime if that runs. Afterwards they are in
/// files in `images/`, from where every start loads them, and they are part of backups. Nothing is restarted.
pub fn load_images(files: &[PathBuf], progress: &Progress) -> Result<Vec<Image>> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    check_runtime(&current)?;
    let mut taken: Vec<Stored> = Vec::new();
    for file in files {
        let new = images::take(file, &current.layout)?;
        // A later one of the same name has replaced it.
        taken.retain(|old| !new.iter().any(|image| image.name == old.name));
        taken.extend(new);
    }
    let image = |stored: &Stored, loaded| Image {
        name: stored.name.clone(),
        digest: stored.digest.clone(),
        origin: Origin::Own,
        loaded,
    };
    if !current.is_running() {
        progress.line("the cluster is stopped, and will load them when it starts");
        return Ok(taken.iter().map(|stored| image(stored, None)).collect());
    }
    let wait = progress.wait("load images");
    let mut command = current.own_command(&[protocol::BOOT, protocol::LOAD_IMAGES]);
    if let Some(base) = current.layout.runtime_dir().parent() {
        command.env(XDG_RUNTIME_DIR, base);
    }
    // Images that cannot be used are only reported by it.
    let ended = child::run(&mut command)?;
    let said = ended.said();
    ended.success().hint(in_files)?;
    let present = present(&current)?;
    let missing = taken.iter().find(|image| !has(&current, &present, image));
    if let Some(image) = missing {
        let mut error = Error::new(
            Kind::Failed,
            format!(
                "the container runtime did not take the image {}",
                image.name
            ),
        );
        for line in said.lines() {
            error = error.detail("it says", line);
        }
        return Err(error.hint(in_files()));
    }
    wait.finish("done");
    Ok(taken
        .iter()
        .map(|stored| image(stored, Some(true)))
        .collect())
}

fn in_files() -> String {
    "the images are in files, and the next start of the cluster loads them; `usernetes image rm NAME` removes one".to_owned()
}

/// Whether the runtime has an image. CRI-O names the digests of platforms, not that of the archive's index.
fn has(current: &Current, present: &BTreeMap<String, String>, image: &Stored) -> bool {
    let digest = present.get(&image.name);
    digest.is_some_and(|digest| current.config.cri == Cri::Crio || *digest == image.digest)
}

/// All images: of the bundle, the user's own, and those that the container runtime got in another way.
pub fn list_images(progress: &Progress) -> Result<Vec<Image>> {
    let current = Current::read()?;
    check_runtime(&current)?;
    let (stored, bad) = images::stored(&current.layout)?;
    for error in bad {
        progress.line(format!("cannot be read: {error}"));
    }
    let present = current
        .is_running()
        .then(|| present(&current))
        .transpose()?;
    Ok(merged(&stored, present.as_ref()))
}

fn merged(stored: &[Stored], present: Option<&BTreeMap<String, String>>) -> Vec<Image> {
    let mut all: BTreeMap<&str, Image> = BTreeMap::new();
    for (name, digest) in present.into_iter().flatten().filter(|(n, _)| is_given(n)) {
        let image = Image {
            name: name.clone(),
            digest: digest.clone(),
            origin: Origin::Pulled,
            loaded: Some(true),
        };
        all.insert(name, image);
    }
    for image in stored {
        let row = Image {
            name: image.name.clone(),
            digest: image.digest.clone(),
            origin: if image.bundled {
                Origin::Bundle
            } else {
                Origin::Own
            },
            loaded: present.map(|present| present.contains_key(&image.name)),
        };
        all.insert(&image.name, row);
    }
    all.into_values().collect()
}

/// Removes images: the user's own files, and the images in the container runtime if that runs. Containers that use one keep
/// running. Fails, and removes nothing, if one is unknown or of the bundle.
pub fn remove_images(names: &[String], progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    check_runtime(&current)?;
    let (stored, _) = images::stored(&current.layout)?;
    let present = current
        .is_running()
        .then(|| present(&current))
        .transpose()?;
    let known = merged(&stored, present.as_ref());
    let mut wanted = BTreeSet::new();
    for name in names {
        let image = find(&known, name)?;
        if image.origin == Origin::Bundle {
            return Err(Error::new(
                Kind::Usage,
                format!("the image {} comes with the bundle", image.name),
            )
            .hint("the cluster needs it, and would load it again"));
        }
        wanted.insert(image.name.clone());
    }
    for file in images::forget(&wanted, &stored)? {
        progress.line(format!("removed {}", file.display()));
    }
    let loaded = present.unwrap_or_default();
    for name in wanted.iter().filter(|name| loaded.contains_key(*name)) {
        remove_loaded(&current, name, &loaded)?;
        progress.line(format!("removed {name} from the container runtime"));
    }
    Ok(())
}

/// The image of this name. Names of Docker Hub may be shortened, as with Docker.
fn find<'a>(known: &'a [Image], name: &str) -> Result<&'a Image> {
    let full = [
        name.to_owned(),
        format!("docker.io/library/{name}"),
        format!("docker.io/{name}"),
    ];
    let mut found = full
        .iter()
        .filter_map(|full| known.iter().find(|i| i.name == *full));
    found.next().ok_or_else(|| {
        Error::new(Kind::Usage, format!("there is no image {name}"))
            .hint("`usernetes image list` shows all of them with their full names")
    })
}

fn remove_loaded(current: &Current, name: &str, loaded: &BTreeMap<String, String>) -> Result<()> {
    let mut command = match current.config.cri {
        Cri::Containerd => {
            let mut command = current.own_command(&["ctr", "images", "rm"]);
            command.args(references(name, loaded));
            command
        }
        _ => current.own_command(&["crictl", "rmi", name]),
    };
    child::run(&mut command)?
        .success()
        .about(|| format!("the image {name} cannot be removed"))
        .map(drop)
}

/// The names in containerd that must go so that an image's content goes: its own and, if no other name that people gave is
/// left for the same content, those that the runtime made of digests.
fn references(name: &str, loaded: &BTreeMap<String, String>) -> Vec<String> {
    let digest = loaded.get(name);
    let same = loaded
        .iter()
        .filter(|(other, d)| Some(*d) == digest && *other != name);
    let same: Vec<_> = same.map(|(other, _)| other.clone()).collect();
    let mut all = vec![name.to_owned()];
    if !same.iter().any(|other| is_given(other)) {
        all.extend(same);
    }
    all
}

/// The images in the container runtime, by name, with their digests.
fn present(current: &Current) -> Result<BTreeMap<String, String>> {
    let ask = |words: &[&str]| {
        let said = child::run(&mut current.own_command(words)).and_then(Ended::success);
        said.about(|| "the container runtime cannot be asked for its images")
            .hint(|| "`usernetes status` shows the cluster's health".to_owned())
    };
    match current.config.cri {
        Cri::Containerd => Ok(images::of_ctr(&ask(&["ctr", "images", "list"])?)),
        _ => images::of_crictl(&ask(&["crictl", "images", "--output", "json"])?),
    }
}

fn check_runtime(current: &Current) -> Result<()> {
    if current.config.cri != Cri::None {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        "this machine runs no pods, so it has no images",
    )
    .expected("a container runtime, as in `usernetes install --cri containerd`"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn stored(name: &str, digest: &str, bundled: bool) -> Stored {
        Stored {
            name: name.to_owned(),
            digest: digest.to_owned(),
            file: Path::new("/images").join(name),
            bundled,
        }
    }

    fn runtime(images: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(name, digest): &(&str, &str)| ((*name).to_owned(), (*digest).to_owned());
        images.iter().map(pair).collect()
    }

    #[test]
    fn every_image_is_listed_once_with_its_origin() {
        let files = [
            stored("k8s/pause:3", "sha256:p", true),
            stored("docker.io/library/busybox:1", "sha256:b", false),
        ];
        let present = runtime(&[
            ("k8s/pause:3", "sha256:p"),
            ("sha256:ff", "sha256:p"),
            ("x/pulled:1", "sha256:x"),
        ]);
        let shown = |images: &[Image]| {
            let row = |i: &Image| format!("{} {} {:?}", i.name, i.origin.as_str(), i.loaded);
            images.iter().map(row).collect::<Vec<_>>()
        };
        let all = merged(&files, Some(&present));
        assert_eq!(
            shown(&all),
            [
                "docker.io/library/busybox:1 own Some(false)",
                "k8s/pause:3 bundle Some(true)",
                "x/pulled:1 pulled Some(true)",
            ]
        );
        assert_eq!(
            shown(&merged(&files, None)),
            [
                "docker.io/library/busybox:1 own None",
                "k8s/pause:3 bundle None"
            ]
        );
        assert_eq!(find(&all, "busybox:1").unwrap().origin, Origin::Own);
        assert!(
            find(&all, "busybox:2")
                .unwrap_err()
                .to_string()
                .contains("image list")
        );
    }

    #[test]
    fn content_goes_with_the_last_name_that_people_gave_it() {
        let loaded = runtime(&[
            ("x/a:1", "sha256:a"),
            ("x/a:2", "sha256:a"),
            ("sha256:cc", "sha256:a"),
            ("x/b:1", "sha256:b"),
        ]);
        assert_eq!(references("x/a:1", &loaded), ["x/a:1"]);
        let mut last = loaded;
        last.remove("x/a:2");
        assert_eq!(references("x/a:1", &last), ["x/a:1", "sha256:cc"]);
    }
}
