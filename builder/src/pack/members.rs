//! The files a bundle is made of, taken out of verified downloads.
//!
//! Each file becomes a content-addressed entry of the cache, and a small index remembers which files a download
//! gave, so that a second build opens no archive at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::{Deserialize, Serialize};
use stub::bundle::{Arch, BundlePath, Component, File, Mode, Name, Source};
use stub::digest::{Digest, Sha256};
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;

use crate::archive;
use crate::cache::Cache;
use crate::lockfile::{Artifact, LockedComponent};
use crate::oci;
use crate::recipe::Format;

use super::image;

/// A file's content: its digest, which is its key in the cache, and its size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Digest.
    pub sha256: Sha256,
    /// Size in bytes.
    pub size: u64,
}

/// Makes a manifest's component out of a locked one, and the sizes of its contents.
///
/// Everything it needs must be in the cache; afterwards its files' contents are, too.
pub fn component(
    name: &Name,
    locked: &LockedComponent,
    artifacts: &[Artifact],
    arch: Arch,
    cache: &Cache,
    progress: &Progress,
) -> Result<(Component, BTreeMap<Sha256, u64>)> {
    let mut component = Component {
        files: Vec::new(),
        homepage: locked.homepage.clone(),
        license: locked.license.clone(),
        links: Vec::new(),
        name: name.clone(),
        sources: Vec::new(),
        version: locked.version.clone(),
    };
    let mut sizes = BTreeMap::new();
    for artifact in artifacts {
        let digest = artifact.pinned(name)?;
        component.sources.push(Source {
            digest: digest.to_string(),
            url: artifact.url().to_owned(),
        });
        let members = members(artifact, &digest, arch, cache, progress)
            .about(|| format!("{name} {}: {}", locked.version, artifact.url()))?;
        for (path, content) in members {
            sizes.insert(content.sha256, content.size);
            component.files.push(File {
                mode: Mode::at(&path),
                path,
                sha256: content.sha256,
            });
        }
        component.links.extend(artifact.links.iter().cloned());
    }
    component.files.sort_by(|a, b| a.path.cmp(&b.path));
    component.links.sort();
    Ok((component, sizes))
}

/// The contents a download gives, by their paths in the component.
fn members(
    artifact: &Artifact,
    digest: &Digest,
    arch: Arch,
    cache: &Cache,
    progress: &Progress,
) -> Result<BTreeMap<BundlePath, Content>> {
    let index = Index::of(artifact, arch, cache)?;
    if let Some(members) = index.read() {
        return Ok(members);
    }
    let members = match artifact.format {
        Format::OciImage => image::members(artifact, digest, arch, cache, progress)?,
        _ => taken(artifact, digest, arch, cache, progress)?,
    };
    index.write(&members)?;
    Ok(members)
}

/// Files taken out of a download, or the download itself.
fn taken(
    artifact: &Artifact,
    digest: &Digest,
    arch: Arch,
    cache: &Cache,
    progress: &Progress,
) -> Result<BTreeMap<BundlePath, Content>> {
    let wanted: BTreeSet<String> = artifact
        .files
        .iter()
        .filter_map(|t| t.from.clone())
        .collect();
    let mut found: BTreeMap<String, Content> = BTreeMap::new();
    let task = progress.task(
        format!(
            "unpack {}",
            artifact.url().rsplit('/').next().unwrap_or_default()
        ),
        0,
    );
    let mut each = |name: &str, _size: u64, input: &mut dyn Read| -> Result<()> {
        let (sha256, size) = cache.take_in(&mut Counted { input, task: &task })?;
        found.insert(name.to_owned(), Content { sha256, size });
        Ok(())
    };
    match artifact.format {
        Format::Plain => each("", 0, &mut cache.open_verified(digest)?)?,
        Format::OciFiles => {
            let image = oci::Image::read(cache, digest, arch)?;
            let layer = |blob: &oci::Descriptor| {
                let digest = blob.digest;
                archive::Layer {
                    media_type: blob.media_type.clone(),
                    open: Box::new(move || Ok(Box::new(cache.open_verified(&digest)?))),
                }
            };
            let layers: Vec<_> = image.layers.iter().map(layer).collect();
            archive::layers(&layers, &wanted, &mut each)?;
        }
        format => archive::extract(format, cache.open_verified(digest)?, &wanted, &mut each)?,
    }
    task.clear();
    artifact
        .files
        .iter()
        .map(|take| {
            let from = take.from.as_deref().unwrap_or_default();
            let content = found
                .get(from)
                .ok_or_else(|| Error::new(Kind::Input, format!("the archive has no `{from}`")))?;
            Ok((take.to.clone(), *content))
        })
        .collect()
}

/// Counts up when the same download gives other members than before, so that older indexes are not used.
const RULES: u32 = 3;

/// The files that a download gave the last time. Only a hint: contents are verified whenever they are read.
struct Index {
    path: std::path::PathBuf,
    cache: Cache,
}

impl Index {
    fn of(artifact: &Artifact, arch: Arch, cache: &Cache) -> Result<Self> {
        let key = serde_json::to_vec(&(
            RULES,
            artifact.digest,
            artifact.format,
            &artifact.files,
            artifact.url(),
            arch,
        ))
        .map_err(|e| Error::new(Kind::Failed, format!("cannot name the cache entry: {e}")))?;
        let path = cache
            .root()
            .join("members")
            .join(format!("{}.json", Sha256::of(&key)));
        Ok(Self {
            path,
            cache: cache.clone(),
        })
    }

    /// `None` unless every content it names is still in the cache.
    fn read(&self) -> Option<BTreeMap<BundlePath, Content>> {
        let members: BTreeMap<BundlePath, Content> =
            serde_json::from_str(&fs_err::read_to_string(&self.path).ok()?).ok()?;
        members
            .values()
            .all(|c| self.cache.contains(&c.sha256.into()))
            .then_some(members)
    }

    fn write(&self, members: &BTreeMap<BundlePath, Content>) -> Result<()> {
        let text = serde_json::to_string_pretty(members).map_err(|e| {
            Error::new(
                Kind::Failed,
                format!("cannot write {}: {e}", self.path.display()),
            )
        })?;
        crate::files::replace(&self.path, text.as_bytes())
    }
}

/// A reader that reports to a task how much went through.
pub(super) struct Counted<'a> {
    pub(super) input: &'a mut dyn Read,
    pub(super) task: &'a stub::progress::Task<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.task.advance(count as u64);
        Ok(count)
    }
}
