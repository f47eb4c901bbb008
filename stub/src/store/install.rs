//! Installing a bundle: it becomes the current generation.

use std::io;

use fs_err::File;

use super::check::{self, Depth};
use super::disk::Disk;
use super::tree::Tree;
use super::unpack::unpack;
use super::{Generation, Store, preflight};
use crate::bundle::{Bundle, Component};
use crate::error::{Error, Kind, Result};
use crate::paths::At as _;
use crate::progress::{Progress, bytes};
use crate::signature::{self, Verdict};

/// The result of installing a bundle.
#[derive(Debug)]
pub struct Installed {
    /// The generation of the bundle, which is current now.
    pub generation: Generation,
    /// The work that was needed.
    pub effect: Effect,
    /// Titles of the components that were unpacked, sorted. The others were in the store already.
    pub unpacked: Vec<String>,
}

/// The work that an installation needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the generation was current and whole.
    Unchanged,
    /// The generation was current, but some of it was damaged.
    Repaired,
    /// The generation was there, but another one was current.
    Reactivated,
    /// There is a new generation.
    New,
}

impl Store {
    /// Makes a bundle's content the current generation, unpacking only what is not in the store yet.
    ///
    /// If it is the current generation already, its files' names, kinds, sizes and permissions are compared, and
    /// nothing is done unless they differ from the bundle's. A new generation records the bundle's origin: a wrong signature
    /// beside the bundle is an error. Afterwards everything is on disk. If the installation fails or is interrupted, the
    /// previous generation is still current.
    pub fn install(&self, bundle: &Bundle, progress: &Progress) -> Result<Installed> {
        if let Some(generation) = self.current_from(bundle)
            && self.check(&generation, Depth::Names, |_| ())?.is_empty()
            && self.knows(generation.origin().ok().as_ref())
        {
            return Ok(Installed {
                generation,
                effect: Effect::Unchanged,
                unpacked: Vec::new(),
            });
        }
        self.repair(bundle, progress)
    }

    /// Does what [`install`](Self::install) does, and compares the bytes of all installed files with the bundle even
    /// if nothing seems to be wrong with them.
    pub fn repair(&self, bundle: &Bundle, progress: &Progress) -> Result<Installed> {
        self.preflight(bundle)?;
        self.change(|| self.bring_in(bundle, progress).at(&self.dir))
    }

    /// Fails if programs of the bundle do not run here, or cannot be stored. Changes nothing.
    pub fn preflight(&self, bundle: &Bundle) -> Result<()> {
        preflight::architecture(bundle.manifest().arch)?;
        preflight::directory(&self.dir)?;
        preflight::directory(&self.store_dir())?;
        preflight::generations(&self.generations_dir())?;
        self.check_current_link()
    }

    /// The current generation, if it was made from this bundle. One that cannot be read was not.
    fn current_from(&self, bundle: &Bundle) -> Option<Generation> {
        let current = self.current().ok().flatten();
        current.filter(|g| g.id() == bundle.id())
    }

    /// Whether the origin that a generation has on record is the one that would be recorded now.
    fn knows(&self, recorded: Option<&Verdict>) -> bool {
        recorded.is_some_and(|recorded| self.origin.as_ref().is_none_or(|told| told == recorded))
    }

    fn bring_in(&self, bundle: &Bundle, progress: &Progress) -> Result<Installed> {
        // Opened before anything is written, see `sync_file_system`.
        let store = File::open(self.store_dir())?;
        let manifest = bundle.manifest();
        let components = manifest.installed_components()?;
        let lacking = self.lacking(bundle, &components, progress)?;
        let current = self.current_from(bundle);
        let present = current.clone().or_else(|| self.generation_from(bundle));
        let whole = |g: &Generation| {
            Tree::of_generation(&components)
                .damages(g.path())
                .is_empty()
        };
        let known = present.as_ref().and_then(|g| g.origin().ok());
        let links_whole = present.as_ref().is_some_and(whole) && self.knows(known.as_ref());
        if lacking.is_empty()
            && links_whole
            && let Some(generation) = current
        {
            return Ok(Installed {
                generation,
                effect: Effect::Unchanged,
                unpacked: Vec::new(),
            });
        }

        // The same id means the same bytes, so their known origin is still valid.
        let origin = match self.origin.clone().or(known) {
            Some(origin) => origin,
            None => signature::check_bundle(bundle, None, None)?,
        };
        let total = lacking.iter().map(|c| manifest.unpacked_size(c)).sum();
        preflight::space(&self.store_dir(), total)?;
        let task = progress.task("unpack", total);
        let roots = unpack(self.disk, &self.store_dir(), bundle, &lacking, |n| {
            task.advance(n);
        })?;
        let links = Disk::temporary(&self.generations_dir());
        if !links_whole {
            Generation::write(self.disk, &links, manifest, &origin)?;
        }
        self.disk.sync_file_system(&store)?;
        for (component, root) in lacking.iter().zip(&roots) {
            self.publish(component, root, bundle)?;
        }
        self.disk.sync_dir(&self.store_dir())?;
        match lacking.len() {
            0 => task.clear(),
            n => task.finish(format!(
                "{} in {n} of {} components",
                bytes(total),
                components.len()
            )),
        }

        let number = match &present {
            Some(generation) => generation.number(),
            None => self.next_number()?,
        };
        let place = self.generations_dir().join(number.to_string());
        if !links_whole {
            if present.is_some() {
                self.disk.exchange(&links, &place)?;
            } else {
                self.disk.rename(&links, &place)?;
            }
            self.disk.sync_dir(&self.generations_dir())?;
        }
        if current.is_none() {
            self.make_current(number)?;
        }
        // This change has succeeded; the next one removes whatever cannot be removed now.
        let _ = self.clear_temporary();
        Ok(Installed {
            generation: self.generation(number)?,
            effect: match (&current, &present) {
                (Some(_), _) => Effect::Repaired,
                (None, Some(_)) => Effect::Reactivated,
                (None, None) => Effect::New,
            },
            unpacked: lacking.iter().map(|c| c.title()).collect(),
        })
    }

    /// The components that are missing from the store or damaged there.
    fn lacking<'a>(
        &self,
        bundle: &Bundle,
        components: &'a [Component],
        progress: &Progress,
    ) -> Result<Vec<&'a Component>> {
        let sizes = bundle.manifest().content_sizes();
        let store = self.store_dir();
        let there = |c: &&Component| store.join(c.store_name()).is_dir();
        let total = components
            .iter()
            .filter(there)
            .map(|c| bundle.manifest().unpacked_size(c))
            .sum();
        let task = progress.task("check", total);
        let read = |size| task.advance(size);
        let found = check::components(&store, components, &sizes, Depth::Contents, read)?;
        task.clear();
        for (component, damages) in found.iter().filter(|(c, _)| there(c)) {
            if let Some(first) = damages.first() {
                progress.line(format!(
                    "{} is damaged, unpacking it again: {first}",
                    component.title()
                ));
            }
        }
        Ok(found.into_iter().map(|(component, _)| component).collect())
    }

    /// Moves an unpacked component to its place. If something is there already, the two change places.
    fn publish(
        &self,
        component: &Component,
        root: &std::path::Path,
        bundle: &Bundle,
    ) -> Result<()> {
        let place = self.store_dir().join(component.store_name());
        if place.symlink_metadata().is_ok() {
            return self.disk.exchange(root, &place);
        }
        match self.disk.rename(root, &place) {
            // Another process was faster, on a file system whose locks do not work.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                let component = std::slice::from_ref(component);
                let sizes = bundle.manifest().content_sizes();
                let found = check::components(
                    &self.store_dir(),
                    component,
                    &sizes,
                    Depth::Contents,
                    |_| (),
                )?;
                match found.first().and_then(|(_, damages)| damages.first()) {
                    None => Ok(()),
                    Some(damage) => Err(Error::new(Kind::Integrity, damage.to_string())
                        .hint("another process wrote this just now: wait until it has ended, then run the same command again")),
                }
            }
            result => Ok(result?),
        }
    }

    /// The latest generation made from this bundle, if there is one.
    fn generation_from(&self, bundle: &Bundle) -> Option<Generation> {
        let numbers = self.generation_numbers().ok()?;
        let mut generations = numbers
            .iter()
            .rev()
            .filter_map(|n| self.generation(*n).ok());
        generations.find(|g| g.id() == bundle.id())
    }
}
