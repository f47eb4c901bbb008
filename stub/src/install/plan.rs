//! The plan of an installation: everything that can fail is checked, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::given::{Given, check_worker};
use super::returning::Returning;
use super::settings::{self, Settings, check_start};
use super::start::check_unit_path;
use super::{Flags, Source, Start, has_pasta};
use crate::cluster::{self, Receipt, Versions, present, unit_dir};
use crate::config::{Change, Config};
use crate::error::{Error, Kind, Result};
use crate::host::{self, Finding, Level, Machine, Manager};
use crate::layout::{Layout, has_etcd_data};
use crate::lifecycle::missing;
use crate::services::{Service, UnitName};
use crate::snapshot;
use crate::store::{self, Generation, Store};
use crate::systemd::Systemd;
use crate::units;

/// The version that units are written for if no service manager tells its own. All later versions know its keys.
const ASSUMED_SYSTEMD: u32 = 249;

/// An installation that has passed all checks.
pub(super) struct Plan<'a> {
    pub(super) machine: &'a Machine,
    pub(super) store: Store,
    pub(super) source: Source,
    /// Whether every installed byte is compared.
    pub(super) repair: bool,
    pub(super) config: Config,
    pub(super) start: Start,
    pub(super) changes: Vec<Change>,
    /// Set if the certificates were made beforehand.
    pub(super) given: Option<Given>,
    /// Set if an earlier generation comes back with the configuration it had.
    pub(super) returning: Option<Returning>,
    pub(super) receipt: Option<Receipt>,
    /// The generation that is replaced, if it can be returned to.
    pub(super) previous: Option<Generation>,
    /// How long each step of the start may take; `None` for the usual time.
    pub(super) timeout: Option<Duration>,
    /// Whether a generation that does not work stays current.
    pub(super) force: bool,
    /// The configuration of the last installation.
    pub(super) last: Option<Config>,
    /// Services without a program.
    pub(super) missing: Vec<Service>,
    /// Findings that do not prevent the installation.
    pub(super) findings: Vec<Finding>,
    /// Directories that the installation makes.
    pub(super) directories: BTreeSet<PathBuf>,
    /// `None` if no service manager answers.
    pub(super) systemd: Option<Systemd>,
    pub(super) systemd_version: u32,
    /// Whether `usernetes run` is to run the services.
    pub(super) supervised: bool,
}

impl<'a> Plan<'a> {
    /// Checks everything that could fail, and changes nothing.
    pub(super) fn check(
        flags: &Flags,
        source: Source,
        store: Store,
        machine: &'a Machine,
    ) -> Result<Self> {
        // These checks depend on the generation only if it is the current one.
        let layout = present(&store, machine)?;
        let receipt = Receipt::read(store.dir())?;
        let returning = Returning::to(&source, receipt.as_ref())?;
        let given = Given::read(flags, layout.config())?;
        let existing = match (&returning, &given) {
            (Some(returning), _) => Some(returning.config.clone()),
            (None, Some(given)) if !given.taken => Some(given.config.clone()),
            (None, given) => {
                let given = given.as_ref().map(|given| given.config.clone());
                existing_config(&layout)?.or(given)
            }
        };
        let has_data = has_etcd_data(store.dir());
        let last = settings::last(receipt.as_ref(), store.dir(), has_data)?;
        let settings = settings::merge(
            flags,
            existing,
            last.as_ref(),
            source.manifest(),
            machine,
            has_data,
        )?;
        let Settings {
            config,
            start,
            changes,
        } = settings;
        check_start(&start, &config, source.manifest())?;
        let previous = replaced(&source, &store, receipt.as_ref());
        if has_data {
            let versions = data_versions(&layout, receipt.as_ref(), previous.as_ref())?;
            check_versions(&versions, &source, flags.force)?;
        }

        let manager = if flags.supervised {
            Manager::not_needed()
        } else {
            Manager::ask(machine)
        };
        let kept = last.as_ref().filter(|_| has_data);
        let mut findings = host::check(
            machine,
            &manager,
            &config,
            store.dir(),
            layout.config(),
            kept.map(|last| &last.network),
        );
        let bundled = has_pasta(source.manifest());
        findings.extend(host::network_driver(machine, &config, bundled));
        let findings = refuse_fatal(findings, !start.unit().is_empty() && !flags.force)?;
        let certificates = Given::source(given.as_ref(), layout.config());
        cluster::check_pki(certificates, &config, machine)?;
        // A machine that joins does not have its certificates yet.
        if config.machines.is_worker() && flags.joined.is_none() {
            check_worker(certificates, &config)?;
        }
        let systemd_version = manager.version().unwrap_or(ASSUMED_SYSTEMD);
        let units = units_for(
            flags.supervised,
            receipt.as_ref(),
            units::units(&config, &layout, systemd_version),
        );
        check_places(&layout, receipt.as_ref(), &units)?;
        let systemd = manager
            .answers()
            .then(|| Systemd::of(machine))
            .transpose()?
            .map(|systemd| systemd.for_units_in(unit_dir(&layout)));
        if let Some(systemd) = &systemd {
            check_unit_path(systemd, &unit_dir(&layout))?;
        }
        Ok(Self {
            machine,
            missing: missing(&config, source.manifest()),
            directories: cluster::missing_directories(&layout, receipt.as_ref()),
            repair: flags.repair,
            timeout: flags.timeout,
            force: flags.force,
            previous,
            store,
            source,
            config,
            start,
            changes,
            given,
            returning,
            receipt,
            last,
            findings,
            systemd,
            systemd_version,
            supervised: flags.supervised,
        })
    }

    /// The units that are to exist.
    pub(super) fn units(&self, layout: &Layout, receipt: &Receipt) -> BTreeMap<UnitName, String> {
        let units = units::units(&self.config, layout, self.systemd_version);
        units_for(self.supervised, Some(receipt), units)
    }

    /// Whether anything may run, or be known to a service manager, that differs from these units.
    pub(super) fn leaves_stale(&self, units: &BTreeMap<UnitName, String>) -> bool {
        self.systemd.is_some() || (self.supervised && !units.is_empty())
    }
}

/// The units that are to exist. `usernetes run` needs none, but keeps those that `install` has made up to date.
fn units_for(
    supervised: bool,
    receipt: Option<&Receipt>,
    units: BTreeMap<UnitName, String>,
) -> BTreeMap<UnitName, String> {
    if supervised && receipt.is_none_or(|receipt| receipt.units.is_empty()) {
        return BTreeMap::new();
    }
    units
}

/// The generation that another one replaces; `None` if there is none, or only the configuration is applied again.
fn replaced(source: &Source, store: &Store, receipt: Option<&Receipt>) -> Option<Generation> {
    let number = receipt.map(|receipt| receipt.generation)?;
    let generation = store.generation(number).ok()?;
    let same = match source {
        Source::Bundle(bundle) => bundle.id() == generation.id(),
        Source::Installed(next) => next.number() == number,
    };
    Some(generation).filter(|_| !same)
}

/// The versions that have written the data: by its own record, by the receipt, or by the installed generation.
fn data_versions(
    layout: &Layout,
    receipt: Option<&Receipt>,
    previous: Option<&Generation>,
) -> Result<Versions> {
    if let Some(user) = snapshot::last_user(layout)? {
        return Ok(user.versions);
    }
    let recorded = receipt.map(|receipt| receipt.versions.clone());
    let recorded = recorded.filter(|versions| *versions != Versions::default());
    let installed = || previous.map(|generation| Versions::of(generation.manifest()));
    Ok(recorded.or_else(installed).unwrap_or_default())
}

/// Fails if the data must not be given to the programs of the source. An earlier generation that comes back may be older,
/// but its etcd must be able to read the data; `rollback` sees to that before.
fn check_versions(data: &Versions, source: &Source, force: bool) -> Result<()> {
    let next = Versions::of(source.manifest());
    match source {
        Source::Bundle(_) if force => Ok(()),
        Source::Bundle(_) => data.check_upgrade(&next),
        Source::Installed(_) if data.etcd_is_newer_than(&next) => {
            Err(Error::new(Kind::Usage, "this generation's etcd cannot read the cluster's data")
                .expected(format!("etcd {} or later", data.etcd))
                .found(next.etcd)
                .hint("run `usernetes rollback` of the present generation, which restores the data from before the upgrade"))
        }
        Source::Installed(_) => Ok(()),
    }
}

/// The configuration in the file, if there is one.
fn existing_config(layout: &Layout) -> Result<Option<Config>> {
    let file = layout.config_file();
    file.exists().then(|| Config::read(&file)).transpose()
}

/// Fails if findings prevent the installation or, if something is to be started, the cluster from running. Gives those
/// that are worth knowing.
fn refuse_fatal(findings: Vec<Finding>, starting: bool) -> Result<Vec<Finding>> {
    let prevents = |f: &&Finding| f.prevents_installing() || (starting && f.level == Level::Fatal);
    let reasons: Vec<_> = findings.iter().filter(prevents).cloned().collect();
    if !reasons.is_empty() {
        return Err(host::refusal(&reasons));
    }
    let worth_knowing = findings.into_iter().filter(|f| f.level > Level::Ok);
    Ok(worth_knowing.collect())
}

/// Fails if the files outside the store could not be written, or would replace files of others.
fn check_places(
    layout: &Layout,
    receipt: Option<&Receipt>,
    units: &BTreeMap<UnitName, String>,
) -> Result<()> {
    let dir = unit_dir(layout);
    match receipt {
        Some(receipt) => receipt.check_units(&dir, units)?,
        None => Receipt::default().check_units(&dir, units)?,
    }
    store::writable(
        layout.config(),
        "set XDG_CONFIG_HOME to a directory of yours",
    )?;
    if units.is_empty() {
        return Ok(());
    }
    store::writable(
        &dir,
        "set XDG_CONFIG_HOME to a directory of yours, for your service manager as well",
    )
}
