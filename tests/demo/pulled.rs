//! Follows an image the whole way: from a registry through lockfile, cache and bundle to the installation.

use std::path::{Path, PathBuf};
use std::process::Command;

use stub::bundle::Bundle;
use stub::digest::Sha256;
use stub::error::{Context, Error, Kind, Result};
use stub::files;
use stub::progress::bytes;

use super::image::{Image, digest};
use super::push::Repository;
use super::registry::Registry;
use super::run::{copy_tree, last_line, output};
use super::{Demo, Site};
use builder::wording::counted;

/// The component in the bundle, and the image's directory below `images/`.
const COMPONENT: &str = "busybox-image";

/// The image's name in the registry.
const REPOSITORY: &str = "demo/busybox";

impl Demo<'_> {
    /// Adds an image to the pins of `lockfile`, builds the bundle again and installs it over the one without the image.
    pub(super) fn image(&mut self, lockfile: &Path, home: &Path) -> Result<()> {
        let scratch = self.directory.join("registry");
        files::remove_tree(&scratch)?;
        fs_err::create_dir_all(&scratch)?;
        let taken = self.taken()?;
        let image = Image::of(self.arch, &taken.files)?;

        let registry = Registry::start(&taken.registry, &scratch)?;
        self.step("push an image to it", || {
            let repository = Repository::new(&registry.address, REPOSITORY)?;
            let sent = repository.push(&image, &taken.version)?;
            let version = &taken.version;
            Ok(format!("{REPOSITORY}:{version}, {}", bytes(sent)))
        })?;

        // A cache without the image: whatever part of the image is in it afterwards came out of the registry.
        let cache = scratch.join("cache");
        let locked = scratch.join("lockfile.json");
        fs_err::copy(lockfile, &locked)?;
        let recipes = self.recipes(&scratch, &registry.address)?;
        let mut lock = self.local_builder(&locked);
        lock.args(["lock", "--update", COMPONENT, "--recipes"])
            .arg(&recipes);
        self.step("lock the image", || {
            let table = output(apart(&mut lock, &cache))?;
            let line = table.lines().find(|line| line.starts_with(COMPONENT));
            let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
            Ok(words.join(" "))
        })?;
        let mut fetch = self.local_builder(&locked);
        fetch.args(["fetch", "--components", COMPONENT]);
        self.step("fetch the image", || last_line(apart(&mut fetch, &cache)))?;
        // From here on there is no registry.
        drop(registry);

        let bundle = scratch.join(format!("usernetes-{}", self.arch));
        let site = Site {
            mirror: Some(cache.join("usernetes")),
            ..self.here()
        };
        self.build("build with the image", &site, &locked, &bundle)?;
        self.bundle(
            "install the new bundle",
            &bundle,
            home,
            &["install", "--start="],
        )?;
        let bundle = Bundle::open(&bundle)?;
        self.step("compare the image", || compare(&image, &bundle, home))?;
        files::remove_tree(&scratch)
    }

    /// The channel's recipes and the image's.
    fn recipes(&self, scratch: &Path, address: &str) -> Result<PathBuf> {
        let recipes = scratch.join("recipes");
        let channel = self.workspace.root().join("tests/debian/recipes");
        copy_tree(&channel, &recipes, &[])?;
        let text = format!(
            r#"summary = "An image out of a registry"
homepage = "https://www.busybox.net"
license = "GPL-2.0-only"
version = {{ from = "registry", image = "{address}/{REPOSITORY}", tag = "{{version}}", allow = "*" }}

[[artifact]]
urls = ["oci://{address}/{REPOSITORY}:{{version}}"]
format = "oci-image"
file = [{{ to = "images/{COMPONENT}" }}]
"#
        );
        fs_err::write(recipes.join(format!("{COMPONENT}.toml")), text)?;
        Ok(recipes)
    }
}

/// Has a command use that cache only. The proxy it is given does not exist: a registry on this machine is asked without
/// one.
fn apart<'a>(command: &'a mut Command, cache: &Path) -> &'a mut Command {
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    command.env("XDG_CACHE_HOME", cache)
}

/// Checks that the installed image is the one that was pushed, with its layers as tar archives: each blob, no other, and an index
/// that leads to them.
fn compare(image: &Image, bundle: &Bundle, home: &Path) -> Result<String> {
    let part = &image.bundled;
    let current = home.join(".local/share/usernetes/current");
    let layout = current.join("images").join(COMPONENT);
    let differs = |what: String| {
        Error::new(Kind::Integrity, "the image is not the one that was pushed").detail("at", what)
    };
    let mut size = 0;
    let mut names = Vec::new();
    for content in part.contents() {
        let name = Sha256::of(content).to_string();
        let path = layout.join("blobs/sha256").join(&name);
        if fs_err::read(&path)? != *content {
            return Err(differs(path.display().to_string()));
        }
        size += content.len() as u64;
        names.push(name);
    }
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for entry in fs_err::read_dir(layout.join("blobs/sha256"))? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    found.sort();
    if found != names {
        return Err(differs(layout.display().to_string())
            .expected(names.join(", "))
            .found(found.join(", ")));
    }
    let index = layout.join("index.json");
    let document: serde_json::Value = serde_json::from_slice(&fs_err::read(&index)?)
        .map_err(|e| differs(index.display().to_string()).found(e))?;
    let expected = digest(&part.manifest);
    if document["manifests"][0]["digest"] != expected {
        return Err(differs(index.display().to_string()).expected(expected));
    }
    let installed = fs_err::read_to_string(current.join("manifest.json")).about(|| "manifest")?;
    if Sha256::of(installed.as_bytes()) != bundle.id() {
        return Err(differs(current.display().to_string()).expected(bundle.id()));
    }
    Ok(format!(
        "{} as tar archives, configuration and manifest: {} of what was pushed",
        counted(part.blobs.len() - 1, "layer"),
        bytes(size)
    ))
}
