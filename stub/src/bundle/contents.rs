//! The contents of a bundle, decoded on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::frame::{Decoder, PIECE};
use super::trailer::damaged;
use super::{Bundle, FrameEntry};
use crate::digest::{Hasher, Sha256};
use crate::error::Result;
use crate::memory::{Buffer, Pool};
use crate::threads::on_all_cores;

/// Takes the content of one frame.
pub trait Receiver {
    /// Takes the next piece of it. It is verified when all of the content has been given, not before.
    fn piece(&mut self, bytes: &[u8]) -> Result<()>;

    /// Learns that the whole content was given, and that it is the one that the manifest names.
    fn verified(self) -> Result<()>;
}

impl Bundle {
    /// Gives the content of every frame that `wanted` picks to its own receiver, each once, in no particular order and from
    /// several threads at a time. A frame that others are coded against is decoded along, picked or not.
    ///
    /// Needs memory for one content and its compressed form on each core, and for the prefixes of those.
    pub fn contents<R: Receiver>(
        &self,
        wanted: impl Fn(&FrameEntry) -> bool,
        receiver: impl Fn(&FrameEntry) -> Result<R> + Sync,
    ) -> Result<()> {
        self.decode_all(&wanted, false, receiver)
    }

    /// Checks every byte of the file that [`open`](Self::open) has not checked: stub, padding, and each frame both
    /// packed and decoded. `each` is called for every finished frame, from several threads at a time.
    pub fn verify(&self, each: impl Fn(&FrameEntry) + Sync) -> Result<()> {
        self.stub()?;
        self.check_padding()?;
        let each = &each;
        self.decode_all(&|_| true, true, |entry| Ok(Done(move || each(entry))))
    }

    /// `packed_too`: compares the compressed form of every frame with its digest, too.
    fn decode_all<'a, R: Receiver>(
        &'a self,
        wanted: &impl Fn(&FrameEntry) -> bool,
        packed_too: bool,
        receiver: impl Fn(&'a FrameEntry) -> Result<R> + Sync,
    ) -> Result<()> {
        let frames = &self.manifest().frames;
        let buffers = Pool::default();
        let queue = Queue::new(frames, wanted)?;
        on_all_cores(|| {
            while let Some(mut job) = queue.next() {
                let entry = &frames[job.index];
                let mut packed = self.decoding(entry, buffers.take(entry.length))?;
                self.read_packed(job.index, &mut packed)?;
                // Others wait for a prefix, so they get it before its content is hashed and written. Its compressed form is
                // verified before, so that no error blames a sibling for a damage of the prefix.
                if packed_too || !job.siblings.is_empty() {
                    self.check_packed(entry, &packed)?;
                }
                let receiver = job.wanted.then(|| receiver(entry)).transpose()?;
                let mut check = Check::begin(entry, receiver);
                let mut content = self.decoding(entry, buffers.take(entry.size))?;
                let prefix = job.prefix.take();
                let decoder = Decoder::new(&packed, prefix.as_ref().map(|p| &***p), &mut content);
                let mut decoder = self.decoding(entry, decoder)?;
                if job.siblings.is_empty() {
                    while let Some(piece) = self.decoding(entry, decoder.next_piece())? {
                        check.piece(piece)?;
                    }
                } else {
                    while self.decoding(entry, decoder.next_piece())?.is_some() {}
                    drop(decoder);
                    let content = Arc::new(content);
                    job.release_siblings(&content);
                    for piece in content.chunks(PIECE) {
                        check.piece(piece)?;
                    }
                }
                check.end(self)?;
                job.succeeded = true;
            }
            Ok(())
        })
    }
}

/// The content of a frame on its way to its receiver.
struct Check<'a, R> {
    entry: &'a FrameEntry,
    hasher: Hasher<io::Sink>,
    receiver: Option<R>,
}

impl<'a, R: Receiver> Check<'a, R> {
    /// Without a receiver, if the frame is only the prefix of others.
    fn begin(entry: &'a FrameEntry, receiver: Option<R>) -> Self {
        Self {
            entry,
            hasher: Hasher::new(io::sink()),
            receiver,
        }
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.write_all(bytes)?;
        match &mut self.receiver {
            Some(receiver) => receiver.piece(bytes),
            None => Ok(()),
        }
    }

    fn end(self, bundle: &Bundle) -> Result<()> {
        bundle.check_content(self.entry, self.hasher.finish().1)?;
        self.receiver.map_or(Ok(()), Receiver::verified)
    }
}

/// Only learns when a content is verified.
struct Done<F>(F);

impl<F: FnOnce()> Receiver for Done<F> {
    fn piece(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn verified(self) -> Result<()> {
        self.0();
        Ok(())
    }
}

/// A content that others are coded against.
type Prefix<'p> = Arc<Buffer<'p>>;

/// The frames still to be decoded. A sibling enters when its prefix has been decoded, and is then taken first, so
/// that few prefixes are in memory at a time; after them the prefixes of the largest families, so that no core waits
/// for one at the end; after them the other frames, the largest first, so that all cores end together.
struct Queue<'p> {
    state: Mutex<State<'p>>,
    changed: Condvar,
}

struct State<'p> {
    /// The next one is the last.
    ready: Vec<Waiting<'p>>,
    /// How many prefixes have not released their siblings yet.
    prefixes: usize,
    /// Something failed: no more frames are taken.
    stopped: bool,
}

struct Waiting<'p> {
    index: usize,
    wanted: bool,
    prefix: Option<Prefix<'p>>,
    siblings: Vec<usize>,
}

/// A frame that one thread is decoding. Dropped without success, it stops the others.
struct Job<'a, 'p> {
    queue: &'a Queue<'p>,
    index: usize,
    wanted: bool,
    prefix: Option<Prefix<'p>>,
    siblings: Vec<usize>,
    succeeded: bool,
}

impl<'p> Queue<'p> {
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

    fn next(&self) -> Option<Job<'_, 'p>> {
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

    fn lock(&self) -> MutexGuard<'_, State<'p>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Job<'_, 'p> {
    fn release_siblings(&mut self, content: &Prefix<'p>) {
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

impl Drop for Job<'_, '_> {
    fn drop(&mut self) {
        if !self.succeeded {
            self.queue.lock().stopped = true;
            self.queue.changed.notify_all();
        }
    }
}
