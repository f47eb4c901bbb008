//! Frames: the contents of a bundle, their order, the prefix that each is coded against, and their compressed bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stub::bundle::{Component, FrameEntry, Name, frame};
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use crate::cache::Cache;
use crate::wording::counted;

/// A file smaller than this is compressed on its own: a prefix would not pay for its decoding.
const MIN_SIBLING: u64 = 64 << 10;

/// A content of so many bytes takes long enough that something should be said meanwhile.
const LARGE: u64 = 16 << 20;

/// Measured at level 19: to look through a prefix takes about half as long as to compress it.
const PREFIX_SHARE: u64 = 2;

/// So many bytes of it are compressed to learn how long all of them will take.
const SAMPLE: u64 = 1 << 20;

/// A content to compress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its digest.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// The content it is coded against.
    pub prefix: Option<Sha256>,
}

/// Decides order and prefixes: families one after the other, in each the largest file first, its siblings coded against it.
///
/// The order is that of names and paths, so that it depends on nothing but the lockfile.
#[must_use]
pub fn plan(
    components: &[Component],
    families: &BTreeMap<Name, Name>,
    sizes: &BTreeMap<Sha256, u64>,
) -> Vec<Planned> {
    let mut by_family: BTreeMap<&Name, Vec<(Sha256, u64)>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for component in components {
        let family = families.get(&component.name).unwrap_or(&component.name);
        let members = by_family.entry(family).or_default();
        for file in &component.files {
            if seen.insert(file.sha256) {
                members.push((
                    file.sha256,
                    sizes.get(&file.sha256).copied().unwrap_or_default(),
                ));
            }
        }
    }
    let mut frames = Vec::new();
    for members in by_family.into_values() {
        // Of equally large files the first, so that the choice is the same everywhere.
        let hub = members
            .iter()
            .copied()
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        let Some((hub, size)) = hub else { continue };
        frames.push(Planned {
            sha256: hub,
            size,
            prefix: None,
        });
        for (sha256, size) in members.into_iter().filter(|(sha256, _)| *sha256 != hub) {
            let prefix = (size >= MIN_SIBLING).then_some(hub);
            frames.push(Planned {
                sha256,
                size,
                prefix,
            });
        }
    }
    frames
}

/// Compressed frames, kept by content, level and prefix: bumping one component compresses one component.
#[derive(Debug)]
pub struct FrameCache<'a> {
    cache: &'a Cache,
    level: i32,
}

impl<'a> FrameCache<'a> {
    /// The frames of a level in a cache.
    #[must_use]
    pub fn new(cache: &'a Cache, level: i32) -> Self {
        Self { cache, level }
    }

    /// Compresses the contents that are not in the cache yet, on all cores, and describes all frames for the manifest.
    pub fn fill(&self, plan: &[Planned], progress: &Progress) -> Result<Vec<FrameEntry>> {
        let mut entries: BTreeMap<Sha256, FrameEntry> = BTreeMap::new();
        let mut missing = Vec::new();
        for planned in plan {
            match self.read(planned) {
                Some(frame) => drop(entries.insert(planned.sha256, entry(planned, &frame))),
                None => missing.push(planned),
            }
        }
        if !missing.is_empty() {
            let sizes = plan.iter().map(|p| (p.sha256, p.size)).collect();
            for entry in self.compress(missing, &sizes, progress)? {
                entries.insert(entry.sha256, entry);
            }
        }
        plan.iter()
            .map(|p| {
                entries.remove(&p.sha256).ok_or_else(|| {
                    Error::new(Kind::Failed, format!("no frame was made for {}", p.sha256))
                })
            })
            .collect()
    }

    /// Compresses contents that are not in the cache, on all cores. `sizes` are those of all contents.
    fn compress(
        &self,
        mut missing: Vec<&Planned>,
        sizes: &BTreeMap<Sha256, u64>,
        progress: &Progress,
    ) -> Result<Vec<FrameEntry>> {
        // The largest first: the last one to finish should be a small one.
        missing.sort_by_key(|p| std::cmp::Reverse((p.size, p.sha256)));
        let total = missing.iter().map(|p| p.size).sum();
        let task = progress.task(format!("compress at level {}", self.level), total);
        if let Some(largest) = missing.first().filter(|p| p.size >= LARGE) {
            let (size, time) = self.try_out(largest)?;
            task.expect(size, time);
        }
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<FrameEntry>> {
            let mut made = Vec::new();
            while let Some(planned) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                // In one go: fed piece by piece, the library makes other bytes. So it says nothing until it is done.
                let prefix = planned.prefix.and_then(|p| sizes.get(&p)).copied();
                let work = planned.size + prefix.unwrap_or_default() / PREFIX_SHARE;
                let part = task.part(planned.size, work);
                made.push(self.make(planned)?);
                part.finish();
            }
            Ok(made)
        };
        let helpers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(missing.len())
            .saturating_sub(1);
        let results = thread::scope(|scope| {
            // Where the machine refuses another thread, fewer do the work.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let helpers: Vec<_> = (0..helpers).map_while(spawn).collect();
            let mut results = vec![work()];
            results.extend(helpers.into_iter().map(|helper| {
                helper.join().unwrap_or_else(|_| {
                    Err(Error::new(Kind::Failed, "a compressing thread panicked"))
                })
            }));
            results
        });
        let mut made = Vec::new();
        for result in results {
            made.extend(result?);
        }
        task.finish(counted(missing.len(), "file"));
        Ok(made)
    }

    /// Compresses the beginning of a content, only to learn how long that takes here. Gives the number of bytes and the time.
    fn try_out(&self, planned: &Planned) -> Result<(u64, Duration)> {
        let mut sample = Vec::new();
        self.cache
            .open_verified(&planned.sha256.into())?
            .take(SAMPLE)
            .read_to_end(&mut sample)?;
        let started = Instant::now();
        frame::compress(&sample, None, self.level)?;
        Ok((sample.len() as u64, started.elapsed()))
    }

    /// The compressed bytes of a frame that [`fill`](Self::fill) described.
    pub fn frame(&self, planned: &Planned) -> Result<Vec<u8>> {
        self.read(planned).ok_or_else(|| {
            Error::new(
                Kind::Failed,
                format!(
                    "the compressed form of {} vanished from the cache",
                    planned.sha256
                ),
            )
            .hint("run the same command again")
        })
    }

    fn make(&self, planned: &Planned) -> Result<FrameEntry> {
        let content = self.cache.content(planned.sha256)?;
        let prefix = planned.prefix.map(|p| self.cache.content(p)).transpose()?;
        let frame = frame::compress(&content, prefix.as_deref(), self.level)?;
        // The digest in front tells a whole frame from one that a crash or a bad disk left behind.
        let mut stored = Sha256::of(&frame).as_bytes().to_vec();
        stored.extend_from_slice(&frame);
        crate::files::replace(&self.path(planned), &stored)?;
        Ok(entry(planned, &frame))
    }

    /// `None` when there is none, or not a whole one.
    fn read(&self, planned: &Planned) -> Option<Vec<u8>> {
        let mut stored = fs_err::read(self.path(planned)).ok()?;
        let digest = stored.get(..32)?.to_vec();
        let frame = stored.split_off(digest.len());
        (Sha256::of(&frame).as_bytes() == digest.as_slice()).then_some(frame)
    }

    fn path(&self, planned: &Planned) -> PathBuf {
        let prefix = planned.prefix.map_or("none".to_owned(), |p| p.to_string());
        let key = Sha256::of(
            format!(
                "{} {} {} {prefix}",
                frame::encoder_id(),
                self.level,
                planned.sha256
            )
            .as_bytes(),
        );
        self.cache.root().join("frames").join(key.to_string())
    }
}

fn entry(planned: &Planned, frame: &[u8]) -> FrameEntry {
    FrameEntry {
        length: frame.len() as u64,
        packed: Sha256::of(frame),
        prefix: planned.prefix,
        sha256: planned.sha256,
        size: planned.size,
    }
}

#[cfg(test)]
mod tests {
    use stub::bundle::{BundlePath, File, Mode, Version};

    use super::*;

    fn component(name: &str, files: &[(&str, &str)]) -> Component {
        Component {
            files: files
                .iter()
                .map(|(path, text)| File {
                    mode: Mode::Program,
                    path: BundlePath::new(*path).unwrap(),
                    sha256: Sha256::of(text.as_bytes()),
                })
                .collect(),
            homepage: String::new(),
            license: "MIT".to_owned(),
            links: Vec::new(),
            name: Name::new(name).unwrap(),
            sources: Vec::new(),
            version: Version::new("1").unwrap(),
        }
    }

    #[test]
    fn siblings_follow_their_hub_and_equal_contents_are_planned_once() {
        let components = [
            component("a", &[("bin/small", "small"), ("bin/tiny", "tiny")]),
            component("b", &[("bin/hub", "hub")]),
            component("c", &[("bin/copy", "small"), ("bin/own", "own")]),
        ];
        let k8s = Name::new("k8s").unwrap();
        let families = ["a", "b"]
            .map(|n| (Name::new(n).unwrap(), k8s.clone()))
            .into();
        let digest = |text: &str| Sha256::of(text.as_bytes());
        let sizes = [
            ("small", 1 << 20),
            ("tiny", 10),
            ("hub", 2 << 20),
            ("own", 5),
        ]
        .map(|(t, s)| (digest(t), s))
        .into();
        let plan: Vec<_> = plan(&components, &families, &sizes)
            .into_iter()
            .map(|p| (p.sha256, p.prefix))
            .collect();
        assert_eq!(
            plan,
            [
                (digest("own"), None),
                (digest("hub"), None),
                (digest("small"), Some(digest("hub"))),
                (digest("tiny"), None),
            ]
        );
    }
}
