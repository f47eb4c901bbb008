//! Frames: the compressed bytes of a bundle's contents, and how many bytes each would have with another prefix.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stub::bundle::{FrameEntry, frame};
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::threads::map_on_all_cores;

use super::plan::{Pair, Planned};
use crate::cache::Cache;
use crate::wording::counted;

/// The level at which prefixes are compared: fast enough to try them all.
const QUICK: i32 = 3;

/// A content of so many bytes takes long enough that something should be said meanwhile.
const LARGE: u64 = 16 << 20;

/// Measured at level 19: to look through a prefix takes about half as long as to compress it.
const PREFIX_SHARE: u64 = 2;

/// So many bytes of it are compressed to learn how long all of them will take.
const SAMPLE: u64 = 1 << 20;

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
        let made = map_on_all_cores(&missing, |planned| {
            // In one go: fed piece by piece, the library makes other bytes. So it says nothing until it is done.
            let prefix = planned.prefix.and_then(|p| sizes.get(&p)).copied();
            let work = planned.size + prefix.unwrap_or_default() / PREFIX_SHARE;
            let part = task.part(planned.size, work);
            let entry = self.make(planned)?;
            part.finish();
            Ok(entry)
        })?;
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

    /// How many bytes contents become with prefixes, at a quick level. What has been measured before is in the cache. `sizes` are
    /// those of all contents, in bytes.
    pub fn measure(
        &self,
        pairs: Vec<Pair>,
        sizes: &BTreeMap<Sha256, u64>,
        progress: &Progress,
    ) -> Result<BTreeMap<Pair, u64>> {
        let size = |sha256: &Sha256| sizes.get(sha256).copied().unwrap_or_default();
        let mut known = BTreeMap::new();
        let mut missing = Vec::new();
        for pair in pairs {
            let before = fs_err::read_to_string(self.measured(&pair)).ok();
            match before.and_then(|text| text.trim().parse().ok()) {
                Some(bytes) => drop(known.insert(pair, bytes)),
                None => missing.push(pair),
            }
        }
        if missing.is_empty() {
            return Ok(known);
        }
        missing.sort_by_key(|(content, prefix)| std::cmp::Reverse((size(content), *prefix)));
        let total = missing.iter().map(|(content, _)| size(content)).sum();
        let task = progress.task("compare prefixes", total);
        let made = map_on_all_cores(&missing, |pair| {
            let (content, prefix) = (pair.0, pair.1);
            let frame = self.compressed(content, prefix, QUICK)?;
            let bytes = frame.len() as u64;
            crate::files::replace(&self.measured(pair), bytes.to_string().as_bytes())?;
            task.advance(size(&content));
            Ok((*pair, bytes))
        })?;
        task.finish(counted(missing.len(), "pair"));
        known.extend(made);
        Ok(known)
    }

    fn measured(&self, (content, prefix): &Pair) -> PathBuf {
        self.file("measured", QUICK, *content, *prefix)
    }

    fn compressed(&self, content: Sha256, prefix: Option<Sha256>, level: i32) -> Result<Vec<u8>> {
        let content = self.cache.content(content)?;
        let prefix = prefix.map(|p| self.cache.content(p)).transpose()?;
        frame::compress(&content, prefix.as_deref(), level)
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
        let frame = self.compressed(planned.sha256, planned.prefix, self.level)?;
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
        self.file("frames", self.level, planned.sha256, planned.prefix)
    }

    /// The file of the cache, in this directory, about a content that is compressed in one way.
    fn file(&self, directory: &str, level: i32, sha256: Sha256, prefix: Option<Sha256>) -> PathBuf {
        let prefix = prefix.map_or("none".to_owned(), |p| p.to_string());
        let way = format!("{} {level} {sha256} {prefix}", frame::encoder_id());
        let key = Sha256::of(way.as_bytes());
        self.cache.root().join(directory).join(key.to_string())
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
