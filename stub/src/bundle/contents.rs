//! The contents of a bundle, decoded on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
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
        wanted: impl Fn(&FrameEntry) -> bool + Sync,
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
        wanted: &(impl Fn(&FrameEntry) -> bool + Sync),
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
                if packed_too || !job.siblings().is_empty() {
                    self.check_packed(entry, &packed)?;
                }
                let receiver = wanted(entry).then(|| receiver(entry)).transpose()?;
                let mut check = Check::begin(entry, receiver);
                let mut content = self.decoding(entry, buffers.take(entry.size))?;
                let prefix = job.prefix.take();
                let decoder = Decoder::new(&packed, prefix.as_ref().map(|p| &***p), &mut content);
                let mut decoder = self.decoding(entry, decoder)?;
                if job.siblings().is_empty() {
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
    /// With each frame, those that are coded against it, in the order in which they become ready. All are numbers of frames.
    siblings: BTreeMap<usize, Vec<usize>>,
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
    prefix: Option<Prefix<'p>>,
}

/// A frame that one thread is decoding. Dropped without success, it stops the others.
struct Job<'a, 'p> {
    queue: &'a Queue<'p>,
    index: usize,
    prefix: Option<Prefix<'p>>,
    succeeded: bool,
}

impl<'p> Queue<'p> {
    fn new(frames: &[FrameEntry], wanted: &impl Fn(&FrameEntry) -> bool) -> Result<Self> {
        let index_of: BTreeMap<Sha256, usize> = frames
            .iter()
            .enumerate()
            .map(|(index, f)| (f.sha256, index))
            .collect();
        let mut siblings: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut first = Vec::new();
        let mut needed = BTreeSet::new();
        for (mut index, _) in frames.iter().enumerate().filter(|(_, f)| wanted(f)) {
            while needed.insert(index) {
                let Some(prefix) = frames[index].prefix else {
                    first.push(index);
                    break;
                };
                let hub = *index_of
                    .get(&prefix)
                    .ok_or_else(|| damaged("a prefix is missing"))?;
                siblings.entry(hub).or_default().push(index);
                index = hub;
            }
        }
        // Whether others wait for a frame, and its bytes with theirs. They come after it.
        let mut weights: BTreeMap<usize, (bool, u64)> = BTreeMap::new();
        for index in needed.into_iter().rev() {
            let waiting = siblings.get(&index);
            let bytes: u64 = waiting.into_iter().flatten().map(|s| weights[s].1).sum();
            weights.insert(index, (waiting.is_some(), frames[index].size + bytes));
        }
        for all in siblings.values_mut().chain([&mut first]) {
            all.sort_by_key(|index| weights[index]);
        }
        let ready = first.into_iter().map(|index| Waiting {
            index,
            prefix: None,
        });
        Ok(Self {
            state: Mutex::new(State {
                ready: ready.collect(),
                prefixes: siblings.len(),
                stopped: false,
            }),
            siblings,
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
                    prefix: next.prefix,
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
    /// The frames that wait for this one.
    fn siblings(&self) -> &[usize] {
        self.queue
            .siblings
            .get(&self.index)
            .map_or(&[], Vec::as_slice)
    }

    fn release_siblings(&self, content: &Prefix<'p>) {
        let siblings = self.siblings().iter().map(|&index| Waiting {
            index,
            prefix: Some(Arc::clone(content)),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bundle::{BundlePath, File, Manifest, Mode, example, frame, write};

    /// Remembers which contents were verified.
    struct Named<'a>(Sha256, &'a Mutex<Vec<Sha256>>);

    impl Receiver for Named<'_> {
        fn piece(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }

        fn verified(self) -> Result<()> {
            self.1.lock().unwrap().push(self.0);
            Ok(())
        }
    }

    /// Contents of which each is coded against another one, by its place in the list.
    fn bundle(prefixes: &[Option<usize>]) -> (Manifest, Vec<Vec<u8>>) {
        let content = |number: usize| format!("{number} is this").repeat(50 + number);
        let contents: Vec<_> = (0..prefixes.len()).map(content).collect();
        let mut manifest = example::manifest();
        let component = &mut manifest.components[0];
        (component.files, manifest.frames) = (Vec::new(), Vec::new());
        manifest.stub.sha256 = Sha256::of(b"stub");
        let mut frames = Vec::new();
        for (number, (content, prefix)) in contents.iter().zip(prefixes).enumerate() {
            let (content, prefix) = (content.as_bytes(), prefix.map(|p| contents[p].as_bytes()));
            let packed = frame::compress(content, prefix, 3).unwrap();
            manifest.frames.push(FrameEntry {
                length: packed.len() as u64,
                packed: Sha256::of(&packed),
                prefix: prefix.map(Sha256::of),
                sha256: Sha256::of(content),
                size: content.len() as u64,
            });
            component.files.push(File {
                mode: Mode::Program,
                path: BundlePath::new(format!("bin/{number}")).unwrap(),
                sha256: Sha256::of(content),
            });
            frames.push(packed);
        }
        manifest.components.truncate(1);
        (manifest, frames)
    }

    #[test]
    fn a_prefix_may_have_a_prefix_and_only_what_is_wanted_is_given_away() {
        let (manifest, frames) = bundle(&[None, Some(0), Some(1), Some(1), Some(0), None]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let mut out = fs_err::File::create(&path).unwrap();
        write(&mut out, &b"stub"[..], &manifest, |index| {
            Ok(frames[index].clone())
        })
        .unwrap();
        let bundle = Bundle::open(&path).unwrap();
        bundle.verify(|_| ()).unwrap();
        let digest = |number: usize| manifest.frames[number].sha256;
        for wanted in [vec![], vec![2], vec![1, 3], vec![5, 4, 3, 2, 1, 0]] {
            let wanted: BTreeSet<_> = wanted.into_iter().map(digest).collect();
            let given = Mutex::default();
            bundle
                .contents(
                    |frame| wanted.contains(&frame.sha256),
                    |frame| Ok(Named(frame.sha256, &given)),
                )
                .unwrap();
            let given = given.into_inner().unwrap();
            assert_eq!(given.len(), wanted.len());
            assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), wanted);
        }
    }

    #[test]
    fn no_file_takes_more_frames_than_are_allowed() {
        let (manifest, _) = bundle(&[None, Some(0), Some(1), Some(2)]);
        let error = manifest.check().unwrap_err().to_string();
        assert!(error.contains("3 frames are decoded"), "{error}");
    }
}
