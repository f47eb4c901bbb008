//! `install` and `uninstall`: from a bundle to a running cluster, and back.
//!
//! Everything that can be known to fail is looked at first: settings, machine, certificates, unit files of others.
//! Then, in this order, each step complete before the next: programs, `config.toml`, certificates, units, start. Run
//! again, each step finds its work done; whatever stops it half-way, the next run completes it. What the containers'
//! runtime and the components read besides is written by `boot` at every start.

mod activate;
mod cleanup;
mod remove;
mod returning;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

pub use cleanup::cleanup_command;
pub(crate) use remove::running;
pub use remove::uninstall;
use returning::{Returning, keep_old};
use settings::check_start;
pub use settings::{Flags, Start};

use crate::bundle::{Bundle, Manifest};
use crate::cluster::{self, Current, Receipt, layout, unit_dir};
use crate::config::{Cni, Config, DnsName};
use crate::error::Result;
use crate::files;
use crate::host::{self, Finding, Level, Machine, Manager};
use crate::kubeconfig;
use crate::layout::{CONFIG_FILE, Layout};
use crate::lifecycle::{Phase, missing, restart_users, timed};
use crate::manager;
use crate::paths::{self, Places};
use crate::pki;
use crate::progress::Progress;
use crate::services::UnitName;
use crate::store::{self, Generation, Outcome as Unpacked, Store};
use crate::systemd::Systemd;
use crate::units;

/// The version units are written for where no service manager says its own: one whose keys every later one knows.
const ASSUMED_SYSTEMD: u32 = 249;

/// What `install` came to.
#[derive(Debug, Default)]
pub struct Installed {
    /// Number of the generation that is current now.
    pub generation: u64,
    /// Its release.
    pub release: String,
    /// Whether anything had to be changed.
    pub changed: bool,
    /// What became of the generation, as the end of a sentence about it.
    pub outcome: &'static str,
    /// Settings that differ from the last installation's.
    pub changes: Vec<String>,
    /// The unit that was started; empty if none.
    pub started: String,
    /// Components there is no program for, by name.
    pub missing: Vec<&'static str>,
    /// Findings about the machine that did not keep it from going on.
    pub findings: Vec<Finding>,
    /// The directory with all programs.
    pub bin: PathBuf,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Whether the units outlive the login.
    pub lingering: bool,
    /// What took how long.
    pub phases: Vec<Phase>,
}

/// Where the programs come from.
enum Source {
    Bundle(Box<Bundle>),
    /// They are installed: only the configuration is applied.
    Installed(Box<Generation>),
}

impl Source {
    fn manifest(&self) -> &Manifest {
        match self {
            Self::Bundle(bundle) => bundle.manifest(),
            Self::Installed(generation) => generation.manifest(),
        }
    }
}

/// Installs the bundle this process was started from, or applies the configuration anew if this is the installed
/// command.
pub fn install(flags: &Flags, machine: &Machine, progress: &Progress) -> Result<Installed> {
    let store = Store::open_default()?;
    if !flags.supervised && manager::is_claimed(store.dir()) {
        return Err(manager::runs(store.dir()));
    }
    // The lock of an existing store from the first look on; of one that is about to be made, once it is.
    let store = store.with_origin(flags.origin.clone()).locked()?;
    let source = match (Bundle::of_this_process()?, flags.generation) {
        (_, Some(number)) => Source::Installed(Box::new(store.complete(Some(number))?)),
        (Some(bundle), None) => {
            store.preflight(&bundle)?;
            Source::Bundle(Box::new(bundle))
        }
        (None, None) => Source::Installed(Box::new(store.need_current()?)),
    };
    let mut installed = Installed::default();
    let run = Run::prepare(flags, &source, store, machine, &mut installed)?;
    run.carry_out(&source, flags.repair, progress, installed)
}

/// An installation whose checks have all passed.
struct Run<'a> {
    machine: &'a Machine,
    store: Store,
    config: Config,
    start: Start,
    /// Set if an earlier generation comes back with the configuration it had.
    returns: Option<Returning>,
    receipt: Option<Receipt>,
    /// The configuration of the last installation.
    applied: Option<Config>,
    /// Those that will be made.
    directories: BTreeSet<PathBuf>,
    systemd: Option<Systemd>,
    systemd_version: u32,
    supervised: bool,
}

impl<'a> Run<'a> {
    /// Looks at everything that could fail, and changes nothing.
    fn prepare(
        flags: &Flags,
        source: &Source,
        store: Store,
        machine: &'a Machine,
        installed: &mut Installed,
    ) -> Result<Self> {
        // Which generation it will be does not matter for what is looked at here, unless it is the current one.
        let current = store.current().ok().flatten();
        let path = current.map_or_else(|| store.current_link(), |g| g.path().to_owned());
        let layout = layout(machine, path)?;
        let receipt = Receipt::read(store.dir())?;
        let directories = cluster::missing_directories(&layout);
        let returns = Returning::to(source, receipt.as_ref())?;
        let file = layout.config_file();
        let existing = match &returns {
            Some(returning) => Some(returning.config.clone()),
            None => file.exists().then(|| Config::read(&file)).transpose()?,
        };
        let has_data = layout.data("etcd/member").exists();
        let applied = settings::applied(receipt.as_ref(), store.dir(), has_data)?;
        let settings = settings::merge(
            flags,
            existing,
            applied.as_ref(),
            source.manifest(),
            machine,
            has_data,
        )?;
        let config = settings.config;
        installed.changes = settings.changes;
        installed.missing = missing(&config, source.manifest())
            .iter()
            .map(|d| d.as_str())
            .collect();
        check_start(&settings.start, &config, source.manifest())?;

        let starting = !settings.start.unit().is_empty();
        let manager = if flags.supervised {
            Manager::not_needed()
        } else {
            Manager::ask(machine)
        };
        let findings = host::check(machine, &manager, &config, store.dir(), layout.config());
        let fatal = |f: &&Finding| {
            f.prevents_installing() || (starting && !flags.force && f.level == Level::Fatal)
        };
        let reasons: Vec<_> = findings.iter().filter(fatal).cloned().collect();
        if !reasons.is_empty() {
            return Err(host::refusal(&reasons));
        }
        installed.findings = findings
            .into_iter()
            .filter(|f| f.level > Level::Ok)
            .collect();
        cluster::check_pki(&layout, &config, machine)?;
        let systemd_version = manager.version().unwrap_or(ASSUMED_SYSTEMD);
        let known = receipt.clone().unwrap_or_default();
        let units = units_for(
            flags.supervised,
            &known,
            units::units(&config, &layout, systemd_version),
        );
        known.check_units(&unit_dir(&layout), &units)?;
        store::writable(
            layout.config(),
            "set XDG_CONFIG_HOME to a directory of yours",
        )?;
        if !units.is_empty() {
            store::writable(
                &unit_dir(&layout),
                "set XDG_CONFIG_HOME to a directory of yours, for your service manager as well",
            )?;
        }
        let systemd = manager
            .answers()
            .then(|| Systemd::of(machine))
            .transpose()?
            .map(|systemd| systemd.for_units_in(unit_dir(&layout)));
        if let Some(systemd) = &systemd {
            activate::check_unit_path(systemd, &unit_dir(&layout))?;
        }
        Ok(Self {
            machine,
            store,
            config,
            start: settings.start,
            returns,
            receipt,
            applied,
            directories,
            systemd,
            systemd_version,
            supervised: flags.supervised,
        })
    }

    fn carry_out(
        mut self,
        source: &Source,
        repair: bool,
        progress: &Progress,
        mut installed: Installed,
    ) -> Result<Installed> {
        let mut phases = Vec::new();
        let (generation, unpacked) = timed(&mut phases, "unpack", || match source {
            Source::Bundle(bundle) => {
                let done = if repair {
                    self.store.repair(bundle, progress)?
                } else {
                    self.store.install(bundle, progress)?
                };
                Ok((done.generation, done.outcome))
            }
            Source::Installed(generation) => {
                let outcome = if self.store.activate(generation)? {
                    Unpacked::Reactivated
                } else {
                    Unpacked::Unchanged
                };
                Ok((generation.as_ref().clone(), outcome))
            }
        })?;
        self.store = self.store.locked()?;
        let layout = layout(self.machine, generation.path().to_owned())?;

        let mut receipt = self.receipt.clone().unwrap_or_default();
        let places = Places::of(layout.config(), &layout.data(""));
        let text = self.config_text(&layout)?;
        if self.returns.is_some() && text.is_some() {
            self.store.sign()?;
            let old = keep_old(&layout.config_file())?;
            installed.changes.extend(old);
        }
        let mut changed = receipt.is_stale(self.machine)
            || unpacked != Unpacked::Unchanged
            || receipt.generation != generation.number()
            || receipt.places != places
            || (self.systemd.is_some() && receipt.enabled != self.enabled())
            || self.applied.as_ref() != Some(&self.config);
        receipt.places = places;
        receipt.remember_directories(self.directories.iter().cloned());
        if changed || text.is_some() {
            self.store.sign()?;
        }
        let report = timed(&mut phases, "configuration and certificates", || {
            files::private_directory(layout.config())?;
            cluster::remember_places(&receipt.places, layout.config())?;
            if let Some(text) = &text {
                files::replace(&layout.config_file(), text.as_bytes(), 0o600)?;
            }
            let request = cluster::pki_request(&self.config, self.machine);
            pki::ensure(
                layout.config(),
                &request,
                pki::Renew::Due,
                SystemTime::now(),
            )
        })?;
        // Other certificates alone stop nothing.
        changed |= report.renews_trust();
        // For whoever comes back to this generation from a later one.
        generation.keep_configuration(&fs_err::read_to_string(layout.config_file())?)?;
        timed(&mut phases, "units", || {
            let units = self.units(&receipt, &layout);
            changed |= receipt.write_units(self.store.dir(), &unit_dir(&layout), &units)?;
            if changed {
                receipt.generation = generation.number();
                receipt.config = self.config.to_text();
                receipt.set_stale(self.leaves_stale(&units), self.machine);
                receipt.write(self.store.dir())?;
            }
            Ok(())
        })?;
        let renewed = !changed && !report.made.is_empty();

        installed.generation = generation.number();
        installed.release = generation.manifest().release.to_string();
        installed.bin = self.store.current_link().join("bin");
        installed.kubeconfig = kubeconfig::admin_file(layout.config());
        installed.changed = changed;
        installed.outcome = match unpacked {
            Unpacked::New => "is installed and current now",
            Unpacked::Reactivated => "was there already and is current now",
            Unpacked::Repaired => "was current already and is whole again",
            Unpacked::Unchanged if renewed => "was current already, its certificates are new",
            Unpacked::Unchanged if changed => "was current already, its settings or units are new",
            Unpacked::Unchanged => "was current already, nothing to do",
        };
        installed.phases = if changed || self.systemd.is_some() {
            phases
        } else {
            Vec::new()
        };
        if let Some(systemd) = &self.systemd {
            let current = Current {
                machine: self.machine.clone(),
                generation,
                layout,
                config: self.config.clone(),
            };
            if renewed {
                restart_users(systemd, &self.config, &report)?;
            }
            self.activate(systemd, &current, receipt, progress, &mut installed)?;
        }
        installed.changed |= renewed;
        Ok(installed)
    }

    /// Whether something may run, or be known to a service manager, that is not as these units say.
    fn leaves_stale(&self, units: &BTreeMap<UnitName, String>) -> bool {
        self.systemd.is_some() || (self.supervised && !units.is_empty())
    }

    /// The units that are to be there.
    fn units(&self, receipt: &Receipt, layout: &Layout) -> BTreeMap<UnitName, String> {
        let units = units::units(&self.config, layout, self.systemd_version);
        units_for(self.supervised, receipt, units)
    }

    /// The text to write, unless the file there says the same: then its comments stay as the user wrote them.
    fn config_text(&self, layout: &Layout) -> Result<Option<String>> {
        let file = layout.config_file();
        if let Some(Returning { text, config }) = &self.returns {
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
}

/// The units that are to be there: none for `usernetes run`, but those that an `install` made stay up to date.
fn units_for(
    supervised: bool,
    receipt: &Receipt,
    units: BTreeMap<UnitName, String>,
) -> BTreeMap<UnitName, String> {
    if supervised && receipt.units.is_empty() {
        return BTreeMap::new();
    }
    units
}

/// Looks at the machine as `install` would, with the configuration that is there, or else the default one.
pub fn examine(machine: &Machine) -> Result<Vec<Finding>> {
    // Not a `Layout`: what keeps there from being one is a finding like others.
    let (store, config_dir) = (Store::open_default()?, paths::config_dir()?);
    let file = config_dir.join(CONFIG_FILE);
    let config = if file.exists() {
        Config::read(&file)?
    } else {
        Config::new(DnsName::derive(&machine.host_name()), Cni::Bridge)
    };
    let manager = Manager::ask(machine);
    Ok(host::check(
        machine,
        &manager,
        &config,
        store.dir(),
        &config_dir,
    ))
}
