//! Applying a plan: programs, `config.toml`, certificates and units, each complete on disk before the next.

use std::path::PathBuf;
use std::time::SystemTime;

use super::plan::Plan;
use super::returning::{Returning, keep_old};
use super::{Outcome, Source};
use crate::cluster::{self, Receipt, Versions, layout, unit_dir};
use crate::config::{Config, NetworkDriver};
use crate::driver;
use crate::error::Result;
use crate::files;
use crate::layout::Layout;
use crate::lifecycle::{Phase, timed};
use crate::paths::Places;
use crate::pki;
use crate::progress::Progress;
use crate::snapshot;
use crate::store::{Effect, Generation};

/// A plan whose files are all written. Nothing has been started or stopped.
pub(super) struct Applied<'a> {
    pub(super) plan: Plan<'a>,
    pub(super) generation: Generation,
    pub(super) layout: Layout,
    pub(super) receipt: Receipt,
    pub(super) outcome: Outcome,
    /// Whether anything differs that running services depend on, other than certificates that they can renew.
    pub(super) changed: bool,
    pub(super) certificates: pki::Ensured,
    pub(super) old_config: Option<PathBuf>,
    pub(super) phases: Vec<Phase>,
}

impl<'a> Plan<'a> {
    /// Writes everything that the plan needs. Afterwards it is on disk, and the receipt covers it.
    pub(super) fn apply(mut self, progress: &Progress) -> Result<Applied<'a>> {
        let mut phases = Vec::new();
        let (generation, effect) = timed(&mut phases, "unpack", || self.unpack(progress))?;
        self.store = self.store.locked()?;
        let layout = layout(self.machine, generation.path().to_owned())?;
        if self.must_prove_driver(effect) {
            timed(&mut phases, "try the network driver", || {
                driver::prove(&layout, &self.config)
            })?;
        }
        if let Some(previous) = &self.previous {
            snapshot::remember_user(&layout, previous)?;
        }

        let mut receipt = self.receipt.clone().unwrap_or_default();
        let places = Places::of(layout.config(), layout.data_dir());
        let text = self.config_text(&layout)?;
        let mut changed = receipt.is_stale(self.machine)
            || effect != Effect::Unchanged
            || receipt.generation != generation.number()
            || receipt.places != places
            || (self.systemd.is_some() && receipt.enabled != self.enabled())
            || self.last.as_ref() != Some(&self.config);
        receipt.places = places;
        receipt.remember_directories(self.directories.iter().cloned());
        if changed || text.is_some() {
            self.store.sign()?;
        }
        let old_config = match &text {
            Some(_) if self.returning.is_some() => keep_old(&layout.config_file())?,
            _ => None,
        };
        let certificates = timed(&mut phases, "configuration and certificates", || {
            self.configure(&layout, &receipt.places, text.as_deref())
        })?;
        if let Some(given) = self.given.as_ref().filter(|given| !given.taken) {
            progress.line(given.taken_over());
        }
        changed |= certificates.renews_trust();
        // For a later return to this generation.
        generation.keep_configuration(&fs_err::read_to_string(layout.config_file())?)?;
        timed(&mut phases, "units", || {
            changed |= self.write_units(&layout, &generation, &mut receipt, changed)?;
            Ok(())
        })?;
        let outcome = match effect {
            Effect::New => Outcome::New,
            Effect::Reactivated => Outcome::Reactivated,
            Effect::Repaired => Outcome::Repaired,
            Effect::Unchanged if changed => Outcome::Reconfigured,
            Effect::Unchanged if !certificates.made.is_empty() => Outcome::Renewed,
            Effect::Unchanged => Outcome::Unchanged,
        };
        Ok(Applied {
            plan: self,
            generation,
            layout,
            receipt,
            outcome,
            changed,
            certificates,
            old_config,
            phases,
        })
    }

    /// Whether the network driver must show first that it connects a cluster: one that is new here, or comes with other programs.
    /// The usual one is tried with every release.
    fn must_prove_driver(&self, effect: Effect) -> bool {
        let driver = self.config.network.driver;
        let last = self.last.as_ref().map(|last| last.network.driver);
        let proven = effect == Effect::Unchanged && last == Some(driver);
        driver != NetworkDriver::Slirp4netns && !proven && !self.force
    }

    fn unpack(&self, progress: &Progress) -> Result<(Generation, Effect)> {
        match &self.source {
            Source::Bundle(bundle) => {
                let done = if self.repair {
                    self.store.repair(bundle, progress)?
                } else {
                    self.store.install(bundle, progress)?
                };
                Ok((done.generation, done.effect))
            }
            Source::Installed(generation) => {
                let effect = if self.store.activate(generation)? {
                    Effect::Reactivated
                } else {
                    Effect::Unchanged
                };
                Ok((generation.as_ref().clone(), effect))
            }
        }
    }

    /// The text to write to `config.toml`; `None` if the file has these settings already, so that the user's comments
    /// in it stay.
    fn config_text(&self, layout: &Layout) -> Result<Option<String>> {
        let file = layout.config_file();
        if let Some(Returning { text, config }) = &self.returning {
            // A later release may have written something that this one cannot read.
            let found = fs_err::read(&file).unwrap_or_default();
            let text = if *config == self.config {
                text.clone()
            } else {
                self.config.to_text()
            };
            return Ok(Some(text).filter(|text| text.as_bytes() != found));
        }
        let same = file.exists() && Config::read(&file)? == self.config;
        Ok((!same).then(|| self.config.to_text()))
    }

    fn configure(
        &self,
        layout: &Layout,
        places: &Places,
        text: Option<&str>,
    ) -> Result<pki::Ensured> {
        files::private_directory(layout.config())?;
        cluster::remember_places(places, layout.config())?;
        if let Some(text) = text {
            files::replace(&layout.config_file(), text.as_bytes(), 0o600)?;
        }
        if let Some(given) = &self.given {
            given.take(layout.config())?;
        }
        // A worker has no authority, and gets its certificates from the control plane.
        if self.config.machines.is_worker() {
            return Ok(pki::Ensured::default());
        }
        let request = cluster::pki_request(&self.config, self.machine);
        let now = SystemTime::now();
        pki::ensure(layout.config(), &request, pki::Renew::Due, now)
    }

    /// Writes the unit files and, if anything has changed, the receipt. Gives whether anything has.
    fn write_units(
        &self,
        layout: &Layout,
        generation: &Generation,
        receipt: &mut Receipt,
        changed: bool,
    ) -> Result<bool> {
        let units = self.units(layout, receipt);
        let data = self.store.dir();
        let changed = receipt.write_units(data, &unit_dir(layout), &units)? || changed;
        if changed {
            receipt.generation = generation.number();
            receipt.versions = Versions::of(generation.manifest());
            receipt.config = self.config.to_text();
            receipt.set_stale(self.leaves_stale(&units), self.machine);
            receipt.write(data)?;
        }
        Ok(changed)
    }
}
