//! A download that is not finished: `partial/<hex>` in the cache, with `<hex>.json` beside it for resuming.
//!
//! On a file system without locks, such as some of NFS, each download has a file of its own instead, under another name,
//! which is not resumed. The result is verified and renamed all the same, at worst twice.

use std::fs::TryLockError;
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stub::digest::{Digest, DigestHasher};
use stub::error::Result;
use stub::files::has_no_locks;
use tempfile::TempPath;

use crate::cache::{Cache, feed};

/// The file that a download is written to, locked against other downloads of the same digest.
pub(super) struct Partial<'a> {
    cache: &'a Cache,
    digest: Digest,
    path: PathBuf,
    /// Removes the file of a download that could not be locked.
    own: Option<TempPath>,
    file: fs_err::File,
    hasher: DigestHasher,
    len: u64,
}

/// Where the first bytes of a partial file came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The URL.
    pub url: String,
    /// The server's name for that version of the file: a strong `ETag`, or else `Last-Modified`.
    pub validator: Option<String>,
    /// The length of the whole in bytes, if the server has said it.
    pub total: Option<u64>,
}

impl<'a> Partial<'a> {
    /// Opens and locks it. If another process has the lock, calls `waiting` and waits until it is free.
    pub(super) fn open(cache: &'a Cache, digest: Digest, waiting: impl FnOnce()) -> Result<Self> {
        Self::open_with(cache, digest, waiting, fs_err::File::try_lock)
    }

    fn open_with(
        cache: &'a Cache,
        digest: Digest,
        waiting: impl FnOnce(),
        try_lock: impl Fn(&fs_err::File) -> Result<(), TryLockError>,
    ) -> Result<Self> {
        let directory = cache.root().join("partial");
        fs_err::create_dir_all(&directory)?;
        let path = directory.join(digest.hex());
        let (file, path, own) = match lock(&path, waiting, try_lock) {
            Ok(file) => (file, path, None),
            Err(error) if has_no_locks(&error) => {
                // It was created to be locked, or left by a machine on which the file system has locks.
                if fs_err::metadata(&path).is_ok_and(|m| m.len() == 0) {
                    forget(&path)?;
                }
                let own = tempfile::Builder::new()
                    .prefix(&format!("{}.", digest.hex()))
                    .tempfile_in(&directory)?;
                let (file, own) = own.into_parts();
                let path = own.to_path_buf();
                let file = fs_err::File::from_parts(file, &path);
                (file, path, Some(own))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            cache,
            digest,
            path,
            own,
            file,
            hasher: digest.hasher(),
            len: 0,
        })
    }

    /// Whether it is locked. If not, the file system has no locks, and this download has its own file.
    pub(super) fn is_locked(&self) -> bool {
        self.own.is_none()
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Takes over the bytes of an earlier download from this URL. `None`, and nothing is taken over, if they came from
    /// another URL or cannot be resumed.
    pub(super) fn resume(&mut self, url: &str) -> Result<Option<Origin>> {
        self.hasher = self.digest.hasher();
        self.len = 0;
        if !self.is_locked() {
            return Ok(None);
        }
        let origin = fs_err::read(self.sidecar()).ok();
        let origin: Option<Origin> = origin.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(origin) = origin.filter(|o| o.url == url && o.validator.is_some()) else {
            return Ok(None);
        };
        self.file.rewind()?;
        self.len = feed(&mut self.hasher, &mut self.file)?;
        Ok(Some(origin).filter(|_| self.len > 0))
    }

    /// Starts again from zero, and notes the source of the bytes to come.
    pub(super) fn begin(&mut self, origin: &Origin) -> Result<()> {
        self.clear()?;
        if self.is_locked() {
            fs_err::write(
                self.sidecar(),
                serde_json::to_vec(origin).unwrap_or_default(),
            )?;
        }
        Ok(())
    }

    /// Drops the bytes there are.
    pub(super) fn clear(&mut self) -> Result<()> {
        if self.is_locked() {
            forget(&self.sidecar())?;
        }
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = self.digest.hasher();
        self.len = 0;
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Digest of the bytes there are.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Moves it into the cache if its digest is right. The error is the digest it has instead.
    pub(super) fn publish(&self) -> Result<Result<(), Digest>> {
        let found = self.digest();
        if found != self.digest {
            return Ok(Err(found));
        }
        self.cache.publish(&self.path, &self.digest)?;
        if self.is_locked() {
            forget(&self.sidecar())?;
        }
        Ok(Ok(()))
    }

    /// Closes it unfinished. A download that can be resumed stays.
    pub(super) fn leave(self) -> Result<()> {
        if !self.is_locked() || self.file.metadata()?.len() > 0 {
            return Ok(());
        }
        forget(&self.sidecar())?;
        forget(&self.path)
    }

    /// Shared by all downloads of the same digest: only for one that is locked.
    fn sidecar(&self) -> PathBuf {
        self.path.with_extension("json")
    }
}

/// Opens and locks the file, and makes sure that it still has its name: the previous holder of the lock may have
/// published it.
fn lock(
    path: &Path,
    waiting: impl FnOnce(),
    try_lock: impl Fn(&fs_err::File) -> Result<(), TryLockError>,
) -> io::Result<fs_err::File> {
    let mut waiting = Some(waiting);
    loop {
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).open(path)?;
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                file.lock()?;
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        match fs_err::metadata(path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(file),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
}

fn forget(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::sync::mpsc;
    use stub::digest::Sha256;

    fn origin(url: &str) -> Origin {
        Origin {
            url: url.to_owned(),
            validator: Some("\"1\"".to_owned()),
            total: None,
        }
    }

    #[test]
    fn only_what_came_from_the_same_url_is_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let digest: Digest = Sha256::of(b"abcdef").into();
        let left_by = |origin: &Origin| {
            let mut partial = Partial::open(&cache, digest, || ()).unwrap();
            partial.begin(origin).unwrap();
            partial.write(b"abc").unwrap();
        };
        let resumed = |url: &str| {
            let mut partial = Partial::open(&cache, digest, || ()).unwrap();
            let origin = partial.resume(url).unwrap();
            assert_eq!(partial.len(), if origin.is_some() { 3 } else { 0 });
            origin
        };
        left_by(&origin("http://a/"));
        assert_eq!(resumed("http://a/"), Some(origin("http://a/")));
        assert_eq!(resumed("http://b/"), None);
        assert!(resumed("http://a/").is_some(), "asking has cost nothing");
        left_by(&Origin {
            validator: None,
            ..origin("http://a/")
        });
        assert_eq!(resumed("http://a/"), None);
        left_by(&origin("http://a/"));
        fs_err::write(
            dir.path().join(format!("partial/{}.json", digest.hex())),
            "{",
        )
        .unwrap();
        assert_eq!(resumed("http://a/"), None);
    }

    #[test]
    fn without_locks_each_has_a_file_of_its_own_and_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let digest: Digest = Sha256::of(b"abc").into();
        for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
            let open = || {
                Partial::open_with(
                    &cache,
                    digest,
                    || (),
                    |_| Err(TryLockError::Error(errno.into())),
                )
                .unwrap()
            };
            let (mut first, mut second, given_up) = (open(), open(), open());
            assert!(!first.is_locked());
            for partial in [&mut first, &mut second] {
                partial.begin(&origin("http://a/")).unwrap();
                partial.write(b"ab").unwrap();
            }
            second.write(b"c").unwrap();
            second.publish().unwrap().unwrap();
            first.write(b"c").unwrap();
            first.publish().unwrap().unwrap();
            given_up.leave().unwrap();
            drop((first, second));
            assert!(cache.find(&digest).unwrap().is_some());
            let left: Vec<_> = fs_err::read_dir(dir.path().join("partial"))
                .unwrap()
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        let other = Partial::open_with(
            &cache,
            digest,
            || (),
            |_| Err(TryLockError::Error(Errno::IO.into())),
        );
        assert!(other.is_err(), "other errors are errors");
    }

    #[test]
    fn whoever_comes_second_waits_and_then_has_a_file_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let digest: Digest = Sha256::of(b"abc").into();
        let mut first = Partial::open(&cache, digest, || ()).unwrap();
        let (waits, waiting) = mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let partial = Partial::open(&cache, digest, || waits.send(()).unwrap()).unwrap();
                assert!(cache.contains(&digest));
                partial.leave().unwrap();
            });
            waiting.recv().unwrap();
            first.write(b"abc").unwrap();
            first.publish().unwrap().unwrap();
            drop(first);
            second.join().unwrap();
        });
        assert!(cache.find(&digest).unwrap().is_some());
    }
}
