//! The contents of a bundle, decoded on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::trailer::damaged;
use super::{Bundle, FrameEntry};
use crate::digest::Sha256;
use crate::error::Result;
use crate::threads::on_all_cores;

impl Bundle {
    /// Gives the verified content of every frame that `wanted` picks, each once, in no particular order and from
    /// several threads at a time. A frame that others are coded against is decoded along, picked or not.
    ///
    /// A content is dropped as soon as `each` and the frames coded against it are done with it.
    pub fn contents(
        &self,
        wanted: impl Fn(&FrameEntry) -> bool,
        each: impl Fn(&FrameEntry, &[u8]) -> Result<()> + Sync,
    ) -> Result<()> {
        self.decode_all(&wanted, &each, |index| self.packed(index))
    }

    /// Checks every byte of the file that [`open`](Self::open) has not checked: stub, padding, and each frame both
    /// packed and decoded. `each` is called for every finished frame, from several threads at a time.
    pub fn verify(&self, each: impl Fn(&FrameEntry) + Sync) -> Result<()> {
        self.stub()?;
        self.check_padding()?;
        let done = |entry: &FrameEntry, _: &[u8]| {
            each(entry);
            Ok(())
        };
        self.decode_all(&|_| true, &done, |index| self.packed_verified(index))
    }

    fn decode_all(
        &self,
        wanted: &impl Fn(&FrameEntry) -> bool,
        each: &(impl Fn(&FrameEntry, &[u8]) -> Result<()> + Sync),
        packed: impl Fn(usize) -> Result<Vec<u8>> + Sync,
    ) -> Result<()> {
        let frames = &self.manifest().frames;
        let queue = Queue::new(frames, wanted)?;
        on_all_cores(|| {
            while let Some(mut job) = queue.next() {
                let entry = &frames[job.index];
                let prefix = job.prefix.take();
                let content = self.decode(
                    entry,
                    &packed(job.index)?,
                    prefix.as_deref().map(Vec::as_slice),
                )?;
                drop(prefix);
                let content = Arc::new(content);
                job.release_siblings(&content);
                if job.wanted {
                    each(entry, &content)?;
                }
                job.succeeded = true;
            }
            Ok(())
        })
    }
}

/// The frames still to be decoded. A sibling enters when its prefix has been decoded, and is then taken first, so
/// that few prefixes are in memory at a time; after them the prefixes of the largest families, so that no core waits
/// for one at the end; after them the other frames, the largest first, so that all cores end together.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next one is the last.
    ready: Vec<Waiting>,
    /// How many prefixes have not released their siblings yet.
    prefixes: usize,
    /// Something failed: no more frames are taken.
    stopped: bool,
}

struct Waiting {
    index: usize,
    wanted: bool,
    prefix: Option<Arc<Vec<u8>>>,
    siblings: Vec<usize>,
}

/// A frame that one thread is decoding. Dropped without success, it stops the others.
struct Job<'a> {
    queue: &'a Queue,
    index: usize,
    wanted: bool,
    prefix: Option<Arc<Vec<u8>>>,
    siblings: Vec<usize>,
    succeeded: bool,
}

impl Queue {
    fn new(frames: &[FrameEntry], wanted: &impl Fn(&FrameEntry) -> bool) -> Result<Self> {
        let index_of: BTreeMap<Sha256, usize> = frames
            .iter()
            .enumerate()
            .map(|(index, f)| (f.sha256, index))
            .collect();
        let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut picked = BTreeSet::new();
        for (index, frame) in frames.iter().enumerate().filter(|(_, f)| wanted(f)) {
            if let Some(prefix) = frame.prefix {
                let hub = index_of
                    .get(&prefix)
                    .ok_or_else(|| damaged("a prefix is missing"))?;
                families.entry(*hub).or_default().push(index);
            } else {
                families.entry(index).or_default();
                picked.insert(index);
            }
        }
        let mut ready: Vec<_> = families
            .into_iter()
            .map(|(index, mut siblings)| {
                siblings.sort_by_key(|s| frames[*s].size);
                Waiting {
                    index,
                    wanted: picked.contains(&index),
                    prefix: None,
                    siblings,
                }
            })
            .collect();
        ready.sort_by_key(|w| {
            let family: u64 = w.siblings.iter().map(|s| frames[*s].size).sum();
            (!w.siblings.is_empty(), frames[w.index].size + family)
        });
        let prefixes = ready.iter().filter(|w| !w.siblings.is_empty()).count();
        Ok(Self {
            state: Mutex::new(State {
                ready,
                prefixes,
                stopped: false,
            }),
            changed: Condvar::new(),
        })
    }

    fn next(&self) -> Option<Job<'_>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(next) = state.ready.pop() {
                return Some(Job {
                    queue: self,
                    index: next.index,
                    wanted: next.wanted,
                    prefix: next.prefix,
                    siblings: next.siblings,
                    succeeded: false,
                });
            }
            if state.prefixes == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job<'_> {
    fn release_siblings(&mut self, content: &Arc<Vec<u8>>) {
        if self.siblings.is_empty() {
            return;
        }
        let siblings = take(&mut self.siblings).into_iter().map(|index| Waiting {
            index,
            wanted: true,
            prefix: Some(Arc::clone(content)),
            siblings: Vec::new(),
        });
        let mut state = self.queue.lock();
        state.ready.extend(siblings);
        state.prefixes -= 1;
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        if !self.succeeded {
            self.queue.lock().stopped = true;
            self.queue.changed.notify_all();
        }
    }
}
