//! The store: immutable, content-addressed directories under `$XDG_DATA_HOME/usernetes`, and the generations made of them.
//!
//! ```text
//! store/<digest>-<component>-<version>/…   files 0444 or 0555, directories 0555: written once, shared by generations
//! store/.lock                              held by the process that changes anything here; contains its id
//! store/.tmp-<random>/                     not finished; the next change of the store removes it
//! generations/<n>/manifest.json            the manifest of the bundle it was installed from, whose SHA-256 is its id
//! generations/<n>/origin.json              the known origin of that bundle: the key that signed it, if any
//! generations/<n>/config.toml              the configuration it was last applied with
//! generations/<n>/bin/etcd                 → ../../../store/<digest>-etcd-<version>/bin/etcd, and so on
//! current                                  → generations/<n>
//! ```
//!
//! Everything is made under a temporary name beside its place, brought to the disk, and renamed; `current` comes
//! last. So if a change is stopped half-way, the previous generation is still current and whole.

mod check;
mod disk;
mod gc;
mod generation;
mod install;
mod preflight;
mod tree;
mod unpack;
mod write_back;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Sha256;
use crate::error::{Context, Error, Kind, Result};
use crate::lock::Lock;
use crate::paths::{self, At as _};
use crate::signature::Verdict;

pub use check::Depth;
pub use disk::Observer;
use disk::{Disk, TEMPORARY};
pub use gc::{Garbage, Unused};
pub use generation::Generation;
pub use install::{Effect, Installed};
pub(crate) use preflight::{owned, space, writable};
pub use tree::Damage;

/// Length in bytes of each content, by digest.
type Sizes = BTreeMap<Sha256, u64>;

/// The store of one user, whether or not there is anything in it yet.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    disk: Disk,
    origin: Option<Verdict>,
    lock: Option<Arc<Lock>>,
}

/// The thing that the lock protects, as messages call it.
const WHAT: &str = "the store";

impl Store {
    /// The store of the user this process runs as.
    pub fn open_default() -> Result<Self> {
        Ok(Self::at(paths::data_dir()?))
    }

    /// The store in a directory. Nothing is read or made yet.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk: Disk::default(),
            origin: None,
            lock: None,
        }
    }

    /// The same store, locked against changes by other processes as long as this value or a copy of it exists. If there is
    /// no store yet, none is made and nothing is locked. Nothing is written; call [`sign`](Self::sign) before writing.
    pub fn locked(mut self) -> Result<Self> {
        let path = self.lock_file();
        if self.lock.is_none() && path.exists() {
            self.lock = Some(Arc::new(Lock::hold(&path, WHAT)?));
        }
        Ok(self)
    }

    /// The same store, whose directories exist, without remains of an interrupted change, and which is locked as [`locked`](Self::locked)
    /// says.
    pub fn made(mut self) -> Result<Self> {
        self.lock = Some(self.lock()?);
        Ok(self)
    }

    /// Writes this process's id into the lock, for the messages of other processes, if the store is locked.
    pub fn sign(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.sign())
    }

    /// The same store, which takes this origin for a bundle's and does not look for a signature beside the bundle.
    #[must_use]
    pub fn with_origin(self, origin: Option<Verdict>) -> Self {
        Self { origin, ..self }
    }

    /// The same store, with an observer that is called before every change of the disk, and can prevent it.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        let disk = Disk { observer };
        Self { disk, ..self }
    }

    /// The directory that holds `store`, `generations` and `current`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The link that names the current generation.
    #[must_use]
    pub fn current_link(&self) -> PathBuf {
        self.dir.join("current")
    }

    /// The generation `current` points at, or `None` when nothing is installed.
    pub fn current(&self) -> Result<Option<Generation>> {
        match self.current_number()? {
            Some(number) => self.generation(number).map(Some),
            None => Ok(None),
        }
    }

    /// The current generation, or the error that nothing is installed.
    pub fn need_current(&self) -> Result<Generation> {
        self.current()?.ok_or_else(|| {
            Error::new(Kind::Failed, "nothing is installed")
                .detail("looked at", self.current_link().display())
                .hint("run a bundle's own `install`, for example `./usernetes-x86_64 install`")
        })
    }

    /// The numbers of all generations, in ascending order.
    pub fn generation_numbers(&self) -> Result<Vec<u64>> {
        let mut numbers: Vec<_> = names(&self.generations_dir())?
            .iter()
            .filter_map(|name| generation::parse_number(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads a generation. The components in the store are not checked.
    pub fn generation(&self, number: u64) -> Result<Generation> {
        let path = self.generations_dir().join(number.to_string());
        Generation::read(number, path, self.store_dir())
    }

    /// All damage of a generation: of its links, and of its components in the store. `read` is called with the size of each
    /// file whose bytes were compared, from several threads at a time.
    pub fn check(
        &self,
        generation: &Generation,
        depth: Depth,
        read: impl Fn(u64) + Sync,
    ) -> Result<Vec<Damage>> {
        let components = generation.components()?;
        let mut damages = tree::Tree::of_generation(&components).damages(generation.path());
        if let Err(error) = generation.origin() {
            damages.push(Damage {
                path: generation.path().to_owned(),
                problem: error.message().to_owned(),
            });
        }
        let sizes = generation.manifest().content_sizes();
        for (_, found) in check::components(&self.store_dir(), &components, &sizes, depth, read)? {
            damages.extend(found);
        }
        Ok(damages)
    }

    /// Makes a [complete](Self::complete) generation current again. Afterwards the change is on disk.
    pub fn rollback(&self, to: Option<u64>) -> Result<Generation> {
        self.change(|| {
            let generation = self.complete(to)?;
            self.make_current(generation.number())?;
            Ok(generation)
        })
    }

    /// Makes a generation current, if it is not. Afterwards the change is on disk. Gives whether there was a change.
    pub fn activate(&self, generation: &Generation) -> Result<bool> {
        if self.current_number().ok().flatten() == Some(generation.number()) {
            return Ok(false);
        }
        self.change(|| self.make_current(generation.number()))?;
        Ok(true)
    }

    /// The given generation, or the one before the current one. Fails when something of it is missing; contents are not
    /// read again.
    pub fn complete(&self, to: Option<u64>) -> Result<Generation> {
        let current = self.current_number()?;
        let numbers = self.generation_numbers()?;
        let before = || {
            let current = current?;
            numbers.iter().rev().find(|n| **n < current).copied()
        };
        let known = || match &numbers[..] {
            [] => "none".to_owned(),
            numbers => numbers
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let number = to.or_else(before).ok_or_else(|| {
            Error::new(Kind::Usage, "there is no generation before the current one")
                .detail("generations", known())
                .hint("name the generation, as in `usernetes rollback 3`")
        })?;
        if !numbers.contains(&number) {
            return Err(
                Error::new(Kind::Usage, format!("there is no generation {number}"))
                    .detail("generations", known())
                    .hint("name one of these generations, as in `usernetes rollback 3`"),
            );
        }
        let generation = self.generation(number)?;
        if let Some(damage) = self.check(&generation, Depth::Names, |_| ())?.first() {
            let release = &generation.manifest().release;
            return Err(Error::new(
                Kind::Integrity,
                format!("generation {number} is not complete"),
            )
            .detail("first problem", damage)
            .hint(format!(
                "run `install` with the bundle of release {release} instead"
            )));
        }
        Ok(generation)
    }

    fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn lock_file(&self) -> PathBuf {
        self.store_dir().join(".lock")
    }

    fn generations_dir(&self) -> PathBuf {
        self.dir.join("generations")
    }

    /// Fails if `current` is not a link, because then it can neither be followed nor replaced.
    fn check_current_link(&self) -> Result<()> {
        let link = self.current_link();
        let found = match link.symlink_metadata() {
            Ok(metadata) if !metadata.is_symlink() => tree::kind(&metadata),
            _ => return Ok(()),
        };
        let shown = link.display();
        Err(Error::new(Kind::Integrity, format!("{shown}: this is no longer a link"))
            .expected("a link to a generation, such as `generations/1`")
            .found(format!("{found}: some programs turn a link into this when they copy it"))
            .hint(format!(
                "run `mv {shown} {shown}.copy`, then a bundle's own `install`; copy the directory with `cp -a` or `rsync -a`, which keep links"
            )))
    }

    /// The number in `current`, whether or not that generation is there.
    fn current_number(&self) -> Result<Option<u64>> {
        let link = self.current_link();
        self.check_current_link()?;
        let target = match fs_err::read_link(&link) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            target => target?,
        };
        let name = target
            .strip_prefix("generations")
            .ok()
            .and_then(Path::to_str);
        let number = name.and_then(generation::parse_number).ok_or_else(|| {
            Error::new(Kind::Integrity, format!("{}: this link was changed", link.display()))
                .expected("a generation, such as `generations/1`")
                .found(format!("`{}`", target.display()))
                .hint("choose a generation with `usernetes rollback <N>`, or run a bundle's own `install`")
        })?;
        Ok(Some(number))
    }

    /// Points `current` to a generation, in one step. Afterwards the change is on disk.
    fn make_current(&self, number: u64) -> Result<()> {
        self.check_current_link()?;
        let link = Disk::temporary(&self.dir);
        self.disk
            .symlink(&format!("generations/{number}"), &link)
            .at(&self.dir)?;
        self.disk.rename(&link, &self.current_link())?;
        self.disk.sync_dir(&self.dir)
    }

    /// Makes the directories, takes the lock, and removes the remains of an interrupted change.
    fn lock(&self) -> Result<Arc<Lock>> {
        for dir in [&self.dir, &self.store_dir(), &self.generations_dir()] {
            self.disk.create_dirs(dir).at(dir)?;
        }
        let lock = match &self.lock {
            Some(lock) => Arc::clone(lock),
            None => Arc::new(Lock::hold(&self.lock_file(), WHAT)?),
        };
        lock.sign()?;
        self.clear_temporary()?;
        Ok(lock)
    }

    /// Makes a change with the lock. After an error, nothing temporary is left.
    fn change<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let done = change();
        if done.is_err() {
            // A full disk should not stay full because of us. The error that led here is the one to report.
            let _ = self.clear_temporary();
        }
        done
    }

    /// Removes everything temporary. Only the holder of the lock may call this.
    fn clear_temporary(&self) -> Result<()> {
        for dir in [&self.dir, &self.store_dir(), &self.generations_dir()] {
            for name in names(dir)?.iter().filter(|n| n.starts_with(TEMPORARY)) {
                self.disk.remove_all(&dir.join(name)).hint(|| {
                    "this is left over from an interrupted run: remove it by hand and try again"
                        .to_owned()
                })?;
            }
        }
        Ok(())
    }
}

/// The names in a directory; none if the directory is not there. Names that are not UTF-8 are not ours.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs_err::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}
