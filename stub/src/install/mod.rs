//! `install`, `upgrade`, `rollback` and `uninstall`: from a bundle to a running cluster, to another one, and back.
//!
//! An installation is a [`Plan`], whose checks look at everything that can be known to fail: settings, machine,
//! certificates, unit files of others. Applying the plan gives an [`Applied`](apply::Applied): programs, `config.toml`,
//! certificates and units, in this order, each complete before the next. Starting that gives the [`Report`]. Each step
//! that runs again finds its work done, and completes whatever an interrupted run has left. `boot` writes the other files
//! that the container runtime and the components read, at every start.

mod apply;
mod cleanup;
mod gate;
mod given;
mod plan;
mod remove;
mod report;
mod returning;
mod settings;
mod start;
mod upgrade;

pub use cleanup::cleanup_command;
pub(crate) use remove::remove_in_namespace;
pub use remove::uninstall;
pub use report::{Outcome, Report};
pub use settings::{Flags, MachineFlags, Start};
pub use upgrade::{Trust, rollback, upgrade};

use crate::bundle::{Bundle, Manifest};
use crate::cluster::{Current, Receipt, present};
use crate::config::{Cni, Config, DnsName};
use crate::error::Result;
use crate::host::{self, Finding, Machine, Manager};
use crate::layout::{CONFIG_FILE, Layout, has_etcd_data};
use crate::manager;
use crate::paths;
use crate::progress::Progress;
use crate::store::{Generation, Store};
use plan::Plan;

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

/// Installs the bundle this process was started from, or applies the configuration again if this is the installed
/// command.
pub fn install(flags: &Flags, machine: &Machine, progress: &Progress) -> Result<Report> {
    prepare(flags, machine)?.carry_out(progress)
}

/// An installation whose checks have passed. Nothing was changed yet.
pub struct Prepared<'a>(Plan<'a>);

/// Makes all the checks of [`install`], which come before anything is changed.
pub fn prepare<'a>(flags: &Flags, machine: &'a Machine) -> Result<Prepared<'a>> {
    let store = Store::open_default()?;
    if !flags.supervised && manager::is_claimed(store.dir()) {
        return Err(manager::runs(store.dir()));
    }
    // An existing store is locked before anything is looked at; a new one is locked as soon as it is made.
    let store = store.with_origin(flags.origin.clone()).locked()?;
    let source = match (Bundle::of_this_process()?, flags.generation) {
        (_, Some(number)) => Source::Installed(Box::new(store.complete(Some(number))?)),
        (Some(bundle), None) => {
            store.preflight(&bundle)?;
            Source::Bundle(Box::new(bundle))
        }
        (None, None) => Source::Installed(Box::new(store.need_current()?)),
    };
    Plan::check(flags, source, store, machine).map(Prepared)
}

impl Prepared<'_> {
    /// Makes the changes.
    pub fn carry_out(self, progress: &Progress) -> Result<Report> {
        self.0.apply(progress)?.start(progress)
    }

    /// Makes the changes, and does `first` once all files are written and nothing has been started yet.
    pub(crate) fn carry_out_after(
        self,
        progress: &Progress,
        first: impl FnOnce(&Current) -> Result<()>,
    ) -> Result<Report> {
        let applied = self.0.apply(progress)?;
        first(&applied.current())?;
        applied.start(progress)
    }

    /// The configuration that it will write.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The components that it will install.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.0.source.manifest()
    }

    /// The places of the installation; its generation may not exist yet.
    pub fn layout(&self) -> Result<Layout> {
        present(&self.0.store, self.0.machine)
    }

    /// Removes the directories again that a caller had to make before the installation, as far as they are empty.
    pub fn remove_directories(&self) {
        for dir in self.0.directories.iter().rev() {
            let _ = fs_err::remove_dir(dir);
        }
    }
}

/// The configuration of this machine's installation, if there is one.
pub fn configured() -> Result<Option<Config>> {
    let file = paths::config_dir()?.join(CONFIG_FILE);
    file.exists().then(|| Config::read(&file)).transpose()
}

/// Whether a bundle brings the network driver that is not the usual one.
fn has_pasta(manifest: &Manifest) -> bool {
    manifest.component_with("bin/pasta").is_some()
}

/// Checks the machine as `install` does, for the existing configuration or else the default one.
pub fn examine(machine: &Machine) -> Result<Vec<Finding>> {
    // Not a `Layout`: whatever prevents one is a finding like others.
    let (store, config_dir) = (Store::open_default()?, paths::config_dir()?);
    let file = config_dir.join(CONFIG_FILE);
    let config = if file.exists() {
        Config::read(&file)?
    } else {
        Config::new(DnsName::derive(&machine.host_name()), Cni::Bridge)
    };
    let manager = Manager::ask(machine);
    // An unreadable receipt is reported by `install`, which needs it.
    let receipt = Receipt::read(store.dir()).ok().flatten();
    let kept = receipt.and_then(|receipt| receipt.configuration().ok().flatten());
    let kept = kept.filter(|_| has_etcd_data(store.dir()));
    let mut findings = host::check(
        machine,
        &manager,
        &config,
        store.dir(),
        &config_dir,
        kept.as_ref().map(|kept| &kept.network),
    );
    let installed = store.current().ok().flatten();
    let bundled = installed.is_some_and(|generation| has_pasta(generation.manifest()));
    findings.extend(host::network_driver(machine, &config, bundled));
    Ok(findings)
}
