//! Another version of a component, so that a build has one file to compress.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use builder::cache::Cache;
use builder::lockfile::{Artifact, Lockfile};
use builder::pack::plan::MIN_SIBLING;
use builder::recipe::{Format, Take};
use stub::bundle::{Arch, Bundle, Component, File, Manifest, Name, Receiver, Version, frame};
use stub::digest::{Digest, Sha256};
use stub::error::{Context as _, Error, Kind, Result};

/// A file smaller than this is compressed without a prefix, and so fast that nothing can be measured.
const LEAST: u64 = MIN_SIBLING;

/// A component to bump.
#[derive(Debug)]
pub(crate) struct Bump {
    arch: Arch,
    component: Component,
    /// The contents of its files, in their order.
    contents: Vec<Vec<u8>>,
    /// The file that changes.
    changed: usize,
    /// The contents of the bundle before, and the contents that they were compressed against.
    before: BTreeSet<(Sha256, Option<Sha256>)>,
}

impl Bump {
    /// Chooses the smallest component that has a file of some size, reads it out of the bundle, and picks its largest file. No
    /// component that others are compressed against, because they would be compressed again, too; and no image, whose files
    /// name each other by digest.
    pub(crate) fn choose(bundle: &Bundle) -> Result<Option<Self>> {
        let manifest = bundle.manifest();
        let Some((component, changed)) = smallest(manifest) else {
            return Ok(None);
        };
        let contents: Result<Vec<_>> = component
            .files
            .iter()
            .map(|file| content(bundle, file.sha256))
            .collect();
        let frames = manifest.frames.iter();
        Ok(Some(Self {
            arch: manifest.arch,
            component: component.clone(),
            contents: contents?,
            changed,
            before: frames.map(|frame| (frame.sha256, frame.prefix)).collect(),
        }))
    }

    /// Its name.
    pub(crate) fn component(&self) -> &Name {
        &self.component.name
    }

    /// The size of the file that changes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.contents[self.changed].len() as u64
    }

    /// Writes a lockfile with a new version of the component, and puts its download into a cache. Every number makes other
    /// bytes.
    pub(crate) fn write(&self, from: &Path, to: &Path, cache: &Path, number: usize) -> Result<()> {
        let mut lockfile = Lockfile::read(from)?;
        let name = self.component();
        let locked = lockfile.components.get_mut(name).ok_or_else(|| {
            Error::new(Kind::Input, format!("the lockfile has no component {name}"))
        })?;
        let archive = self.archive(number)?;
        let digest = Digest::from(Sha256::of(&archive));
        Cache::open(cache)?.insert(&digest, archive.as_slice())?;
        locked.version = Version::new(format!("{}.{number}", self.component.version))?;
        let take = |file: &File| Take {
            from: Some(file.path.as_str().to_owned()),
            to: file.path.clone(),
        };
        let artifact = Artifact {
            digest: Some(digest),
            evidence: Vec::new(),
            files: self.component.files.iter().map(take).collect(),
            format: Format::Tar,
            links: self.component.links.clone(),
            size: Some(archive.len() as u64),
            urls: vec![format!(
                "https://benchmark.invalid/{name}-{}.tar",
                locked.version
            )],
        };
        // Of other processors, there is no such version.
        locked.artifacts = [(self.arch, vec![artifact])].into();
        lockfile.write(to)
    }

    /// The component's files as a tar archive, one of them with a line behind its end.
    fn archive(&self, number: usize) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (index, (file, content)) in self.component.files.iter().zip(&self.contents).enumerate()
        {
            let mut content = content.clone();
            if index == self.changed {
                content.extend_from_slice(format!("\nbenchmark {number}\n").as_bytes());
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(file.mode.bits());
            archive.append_data(&mut header, file.path.as_path(), Cursor::new(content))?;
        }
        archive.into_inner().map_err(Error::from)
    }

    /// The seconds that it takes to compress what a new bundle has and the one before had not, one after the other.
    pub(crate) fn compress(&self, bundle: &Path, level: i32) -> Result<f64> {
        let bundle = Bundle::open(bundle).about(|| bundle.display())?;
        let frames = bundle.manifest().frames.iter();
        let new: Vec<_> = frames
            .filter(|frame| !self.before.contains(&(frame.sha256, frame.prefix)))
            .collect();
        if new.is_empty() {
            let error = Error::new(Kind::Failed, "the bump of this component changed nothing");
            return Err(error.about(self.component()));
        }
        let mut seconds = 0.0;
        for frame in new {
            let bytes = content(&bundle, frame.sha256)?;
            let prefix = frame.prefix.map(|p| content(&bundle, p)).transpose()?;
            let started = Instant::now();
            frame::compress(&bytes, prefix.as_deref(), level)?;
            seconds += started.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }
}

/// The smallest component that can be bumped alone, and the index of its largest file.
fn smallest(manifest: &Manifest) -> Option<(&Component, usize)> {
    let size = |file: &File| {
        manifest
            .frame(&file.sha256)
            .map_or(0, |(_, frame)| frame.size)
    };
    let is_prefix = |file: &File| {
        let mut prefixes = manifest.frames.iter().filter_map(|frame| frame.prefix);
        prefixes.any(|prefix| prefix == file.sha256)
    };
    let alone = |component: &&Component| {
        let mut files = component.files.iter();
        files.all(|file| !file.path.as_str().starts_with("images/") && !is_prefix(file))
    };
    let largest = |component| largest_file(component, size).map(|index| (component, index));
    manifest
        .components
        .iter()
        .filter(alone)
        .filter_map(largest)
        .filter(|(component, index)| size(&component.files[*index]) >= LEAST)
        .min_by_key(|(component, _)| manifest.unpacked_size(component))
}

fn largest_file(component: &Component, size: impl Fn(&File) -> u64) -> Option<usize> {
    (0..component.files.len()).max_by_key(|index| size(&component.files[*index]))
}

/// A content of a bundle.
fn content(bundle: &Bundle, sha256: Sha256) -> Result<Vec<u8>> {
    let found = Mutex::new(Vec::new());
    bundle.contents(
        |frame| frame.sha256 == sha256,
        |_| {
            Ok(Content {
                given: Vec::new(),
                found: &found,
            })
        },
    )?;
    Ok(found.into_inner().unwrap_or_default())
}

/// Keeps a content.
struct Content<'a> {
    given: Vec<u8>,
    found: &'a Mutex<Vec<u8>>,
}

impl Receiver for Content<'_> {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.given.extend_from_slice(bytes);
        Ok(())
    }

    fn verified(self) -> Result<()> {
        if let Ok(mut found) = self.found.lock() {
            *found = self.given;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stub::bundle::{BundlePath, FrameEntry, Mode, StubEntry};

    use super::*;

    fn digest(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    fn component(name: &str, paths: &[&str]) -> Component {
        let file = |path: &&str| File {
            mode: Mode::Program,
            path: BundlePath::new(*path).unwrap(),
            sha256: digest(path),
        };
        Component {
            files: paths.iter().map(file).collect(),
            homepage: String::new(),
            license: "MIT".to_owned(),
            links: Vec::new(),
            name: Name::new(name).unwrap(),
            sources: Vec::new(),
            version: Version::new("1.0").unwrap(),
        }
    }

    fn frame(path: &str, size: u64, prefix: Option<&str>) -> FrameEntry {
        FrameEntry {
            length: 1,
            packed: digest("packed"),
            prefix: prefix.map(digest),
            sha256: digest(path),
            size,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            arch: Arch::X86_64,
            components: vec![
                component("hub", &["bin/hub"]),
                component("image", &["images/x/blob"]),
                component("large", &["bin/large"]),
                component("small", &["bin/a", "bin/b"]),
                component("tiny", &["bin/tiny"]),
            ],
            frames: vec![
                frame("bin/hub", LEAST, None),
                frame("images/x/blob", LEAST, None),
                frame("bin/large", LEAST * 9, Some("bin/hub")),
                frame("bin/a", 10, None),
                frame("bin/b", LEAST, Some("bin/hub")),
                frame("bin/tiny", LEAST - 1, None),
            ],
            level: 3,
            lockfile: digest("lockfile"),
            release: Version::new("1").unwrap(),
            stub: StubEntry {
                libraries: Vec::new(),
                sha256: digest("stub"),
                size: 1,
            },
        }
    }

    #[test]
    fn the_smallest_component_that_changes_nothing_else_is_chosen() {
        let mut manifest = manifest();
        let (component, file) = smallest(&manifest).unwrap();
        assert_eq!((component.name.as_str(), file), ("small", 1));
        manifest.components.retain(|c| c.name.as_str() == "image");
        assert!(smallest(&manifest).is_none());
    }

    #[test]
    fn a_bump_changes_the_lockfile_and_fills_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs_err::write(
            &old,
            r#"{ "components": { "small": { "artifacts": { "x86_64": [], "aarch64": [] }, "family": "small",
                "homepage": "", "license": "MIT", "version": "1.0" } }, "schema": 1 }"#,
        )
        .unwrap();
        let manifest = manifest();
        let bump = Bump {
            arch: Arch::X86_64,
            component: manifest.components[3].clone(),
            contents: vec![b"aaa".to_vec(), b"bbb".to_vec()],
            changed: 1,
            before: BTreeSet::new(),
        };
        let cache = directory.path().join("cache");
        let mut digests = BTreeSet::new();
        for number in [1, 2] {
            bump.write(&old, &new, &cache, number).unwrap();
            let lockfile = Lockfile::read(&new).unwrap();
            let locked = lockfile.components.values().next().unwrap();
            assert_eq!(locked.version.as_str(), format!("1.0.{number}"));
            let digest = locked.artifacts[&Arch::X86_64][0].digest.unwrap();
            let cache = Cache::open(&cache).unwrap();
            let mut archive = tar::Archive::new(cache.open_verified(&digest).unwrap());
            let sizes: Vec<_> = archive
                .entries()
                .unwrap()
                .map(|e| e.unwrap().size())
                .collect();
            assert_eq!(sizes, [3, 3 + 13]);
            digests.insert(digest);
        }
        assert_eq!(digests.len(), 2);
    }
}
