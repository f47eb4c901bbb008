//! The cache of downloads: files by digest, so that nothing in it can ever be out of date.
//!
//! ```text
//! sha256/ab/abcd…    content, mode 0444, verified before it got this name; the same under sha512/
//! partial/abcd…      a download that is under way or was interrupted, with abcd….json beside it
//! tmp/               content that is being verified
//! ```
//!
//! A mirror is a directory or web server with the first of these. Everything in the cache can be made again and is
//! verified when it is opened, so nothing is synced to disk: after a power loss a damaged file is found and dropped.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stub::digest::{Digest, DigestHasher, Hasher, Sha256};
use stub::error::{Context, Error, Kind, Result};
use stub::paths;

/// Verified files are not writable, because their content must never change.
const MODE: u32 = 0o444;

/// A directory of files by digest.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// The damaged files that were removed: expected digest and found digest.
    damaged: Arc<Mutex<BTreeMap<Digest, Digest>>>,
}

enum Lookup {
    Whole(fs_err::File),
    Missing,
    Damaged { found: Digest },
}

impl Cache {
    /// The user's own: `$XDG_CACHE_HOME/usernetes`. Errors as [`Cache::open`].
    pub fn of_user() -> Result<Self> {
        Self::open(paths::cache_dir()?)
    }

    /// The cache in this directory, which is made if need be. Refuses one that belongs to another user: under `sudo`
    /// it would fill with files its owner can neither use nor remove.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let wrong = |what: &str| {
            Error::new(Kind::Host, format!("{}: {what}", root.display()))
                .hint("choose another directory for the cache by setting XDG_CACHE_HOME")
        };
        if root.exists() && !root.is_dir() {
            return Err(wrong("the cache is not a directory"));
        }
        fs_err::create_dir_all(&root).map_err(|e| wrong(&e.to_string()))?;
        let owner = fs_err::metadata(&root)?.uid();
        let us = rustix::process::geteuid().as_raw();
        if owner != us {
            return Err(wrong("the cache belongs to another user")
                .expected(format!("uid {us}"))
                .found(format!("uid {owner}")));
        }
        Ok(Self::at(root))
    }

    /// A cache or mirror in a given directory: nothing is checked or created before it is needed.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            damaged: Arc::default(),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the content with this digest is, if it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(Self::key(digest))
    }

    /// The same, relative to the root of a cache or mirror: `sha256/ab/abcd…`.
    #[must_use]
    pub fn key(digest: &Digest) -> String {
        let hex = digest.hex();
        format!("{}/{}/{hex}", digest.algorithm(), &hex[..2])
    }

    /// Whether there is a file of that name. Its content has not been looked at.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens content after reading all of it and comparing it with the digest in its name. A damaged file is removed
    /// and is an error, as is a missing one.
    pub fn open_verified(&self, digest: &Digest) -> Result<fs_err::File> {
        let (kind, what, found) = match self.entry(digest)? {
            Lookup::Whole(file) => return Ok(file),
            Lookup::Missing => (Kind::Failed, "this is not in the cache", None),
            Lookup::Damaged { found } => (
                Kind::Integrity,
                "this was damaged and has been removed from the cache",
                Some(found),
            ),
        };
        let error = Error::new(kind, format!("{}: {what}", self.path(digest).display()))
            .expected(digest)
            .hint("fetch it with `builder fetch`");
        Err(match found {
            Some(found) => error.found(found),
            None => error,
        })
    }

    /// As [`Cache::open_verified`], but a file that is missing, or was damaged and has been removed, is `None`;
    /// [`Cache::damaged`] tells the two apart.
    pub fn find(&self, digest: &Digest) -> Result<Option<fs_err::File>> {
        Ok(match self.entry(digest)? {
            Lookup::Whole(file) => Some(file),
            Lookup::Missing | Lookup::Damaged { .. } => None,
        })
    }

    /// The digest of the bytes that were in the cache under this digest, if they were damaged and have been removed by
    /// this process.
    #[must_use]
    pub fn damaged(&self, digest: &Digest) -> Option<Digest> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.get(digest).copied()
    }

    /// Reads a small file, verified. `None` as with [`Cache::find`]; an error if it is larger than `cap` bytes.
    pub fn read(&self, digest: &Digest, cap: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.find(digest)? else {
            return Ok(None);
        };
        let size = file.metadata()?.len();
        if size > cap {
            return Err(Error::new(
                Kind::Input,
                format!("{digest} is larger than such a file may be"),
            )
            .expected(format!("at most {cap} bytes"))
            .found(format!("{size} bytes")));
        }
        let mut bytes = Vec::new();
        file.take(cap).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Copies content in, if its digest is this one. Gives its length in bytes. It appears whole or not at all.
    pub fn insert(&self, digest: &Digest, mut content: impl Read) -> Result<u64> {
        let mut file = self.temporary()?;
        let mut hasher = digest.hasher();
        let size = pump(&mut content, |bytes| {
            hasher.update(bytes);
            file.write_all(bytes)
        })?;
        let found = hasher.finish();
        if found != *digest {
            return Err(
                Error::new(Kind::Integrity, "the bytes do not match the digest")
                    .expected(digest)
                    .found(found),
            );
        }
        file.persist(self.made_path(digest)?).map_err(|e| e.error)?;
        Ok(size)
    }

    /// Copies content in without knowing its digest. Gives its digest and its length in bytes.
    pub fn take_in(&self, content: &mut dyn Read) -> Result<(Sha256, u64)> {
        let mut file = self.temporary()?;
        let mut hasher = Hasher::new(&mut file);
        let size = io::copy(content, &mut hasher)?;
        let (_, digest) = hasher.finish();
        file.persist(self.made_path(&digest.into())?)
            .map_err(|e| e.error)?;
        Ok((digest, size))
    }

    /// Reads a whole file into memory, verified. Errors as [`Cache::open_verified`].
    pub fn content(&self, digest: Sha256) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_verified(&digest.into())?
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives a verified file, which lies in this cache, the name by which it is found.
    pub(crate) fn publish(&self, file: &Path, digest: &Digest) -> Result<()> {
        let path = self.made_path(digest)?;
        fs_err::rename(file, &path)?;
        // Not before the renaming: a download that is interrupted in between must be writable to be resumed.
        fs_err::set_permissions(path, PermissionsExt::from_mode(MODE))?;
        Ok(())
    }

    fn temporary(&self) -> Result<tempfile::NamedTempFile> {
        let tmp = self.root.join("tmp");
        fs_err::create_dir_all(&tmp)?;
        // The mode from the start: the file systems of USB sticks refuse to change it.
        Ok(tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(MODE))
            .tempfile_in(&tmp)?)
    }

    fn made_path(&self, digest: &Digest) -> Result<PathBuf> {
        let path = self.path(digest);
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        Ok(path)
    }

    fn entry(&self, digest: &Digest) -> Result<Lookup> {
        let path = self.path(digest);
        let mut file = match fs_err::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Missing),
            Err(e) => return Err(e.into()),
        };
        let mut hasher = digest.hasher();
        feed(&mut hasher, &mut file)?;
        let found = hasher.finish();
        if found == *digest {
            file.rewind()?;
            return Ok(Lookup::Whole(file));
        }
        fs_err::remove_file(&path)
            .about(|| format!("{} is damaged, and cannot be removed", path.display()))?;
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.insert(*digest, found);
        Ok(Lookup::Damaged { found })
    }
}

/// Takes the rest of a reader into a hasher. Gives its length in bytes.
pub(crate) fn feed(hasher: &mut DigestHasher, reader: &mut impl Read) -> io::Result<u64> {
    pump(reader, |bytes| {
        hasher.update(bytes);
        Ok(())
    })
}

/// Hands the rest of a reader over in large pieces. Gives its length in bytes.
fn pump(reader: &mut impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(read) => {
                take(&buffer[..read])?;
                size += read as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stub::digest::Sha256;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("usernetes")).unwrap();
        (dir, cache)
    }

    fn digest_of(bytes: &[u8]) -> Digest {
        Sha256::of(bytes).into()
    }

    #[test]
    fn what_goes_in_comes_out_verified_and_unwritable() {
        let (_dir, cache) = cache();
        let sha512 = Digest::Sha512([0; 64]).same_kind_of(b"abc");
        for digest in [digest_of(b"abc"), sha512] {
            assert!(!cache.contains(&digest));
            assert_eq!(cache.insert(&digest, &b"abc"[..]).unwrap(), 3);
            assert!(cache.contains(&digest));
            let mut text = String::new();
            let mut file = cache.open_verified(&digest).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
            let path = cache.path(&digest);
            assert!(path.ends_with(Cache::key(&digest)));
            let mode = fs_err::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o222, 0, "{mode:o}");
        }
        assert_eq!(
            fs_err::read_dir(cache.root().join("tmp")).unwrap().count(),
            0
        );
    }

    #[test]
    fn wrong_content_does_not_go_in() {
        let (_dir, cache) = cache();
        let digest = digest_of(b"abc");
        let error = cache.insert(&digest, &b"abd"[..]).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(!cache.contains(&digest));
        assert_eq!(
            fs_err::read_dir(cache.root().join("tmp")).unwrap().count(),
            0
        );
    }

    #[test]
    fn a_damaged_file_is_removed_and_the_next_step_named() {
        let (dir, cache) = cache();
        let digest = digest_of(b"abc");
        cache.insert(&digest, &b"abc"[..]).unwrap();
        let path = cache.path(&digest);
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, "abX").unwrap();
        let error = cache.open_verified(&digest).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let text = error
            .to_string()
            .replace(&dir.path().display().to_string(), "…");
        insta::assert_snapshot!(text, @r"
        …/usernetes/sha256/ba/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad: this was damaged and has been removed from the cache
          expected  sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
          found     sha256:8a0fe5e48dfe39ae4ca34b375ea03e76b51413f2967034a8bf08d61270bd9462

        hint: fetch it with `builder fetch`
        ");
        assert!(!path.exists());
        assert!(cache.find(&digest).unwrap().is_none());
        let text = cache.open_verified(&digest).unwrap_err().to_string();
        assert!(
            text.contains("not in the cache") && text.contains("`builder fetch`"),
            "{text}"
        );
    }

    #[test]
    fn a_file_larger_than_its_cap_is_not_read() {
        let (_dir, cache) = cache();
        let digest = digest_of(b"abcd");
        cache.insert(&digest, &b"abcd"[..]).unwrap();
        assert_eq!(cache.read(&digest, 4).unwrap().unwrap(), b"abcd");
        let error = cache.read(&digest, 3).unwrap_err().to_string();
        assert!(error.contains("at most 3 bytes"), "{error}");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            dir.path()
        } else {
            Path::new("/")
        };
        let error = Cache::open(foreign).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        let text = error.to_string();
        assert!(
            text.contains("belongs to another user") && text.contains("XDG_CACHE_HOME"),
            "{text}"
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        let text = Cache::open(file.path()).unwrap_err().to_string();
        assert!(
            text.contains("not a directory") && text.contains("XDG_CACHE_HOME"),
            "{text}"
        );
    }
}
