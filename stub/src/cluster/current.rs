//! The installed cluster, for the commands that use it.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use rustix::process::Pid;

use super::access::{self, api_address};
use super::receipt;
use crate::api::Client;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::files::replace;
use crate::host::Machine;
use crate::layout::{Kubeconfig, Layout};
use crate::manager::{Direct, Manager, Session};
use crate::paths;
use crate::pki;
use crate::process::child_pid;
use crate::store::{Generation, Store};
use crate::systemd::Systemd;

/// The current generation and its configuration.
#[derive(Debug, Clone)]
pub struct Current {
    /// The machine it is on.
    pub machine: Machine,
    /// The generation.
    pub generation: Generation,
    /// Its directories.
    pub layout: Layout,
    /// The configuration that was applied last, which the running services have. The [written](Self::written) one may
    /// differ.
    pub config: Config,
}

impl Current {
    /// Reads it. Fails if nothing is installed, or only programs are.
    pub fn read() -> Result<Self> {
        Self::read_for(Machine::this())
    }

    /// The same for a machine whose runtime directory may be a private one.
    pub(crate) fn read_for(machine: Machine) -> Result<Self> {
        let generation = Store::open_default()?.need_current()?;
        let layout = layout(&machine, generation.path().to_owned())?;
        let config = receipt::applied(&layout)?;
        Ok(Self {
            machine,
            generation,
            layout,
            config,
        })
    }

    /// The configuration in `config.toml`, which the next `install` applies.
    pub fn written(&self) -> Result<Config> {
        Config::read(&self.layout.config_file())
    }

    /// The service manager, for the units of this installation.
    pub fn systemd(&self) -> Result<Systemd> {
        let units = receipt::unit_dir(&self.layout);
        Systemd::of(&self.machine).map(|systemd| systemd.for_units_in(units))
    }

    /// The `usernetes run` that runs this installation's services, if there is one.
    pub fn direct(&self) -> Result<Option<Direct>> {
        Direct::of(&self.machine, self.layout.data_dir())
    }

    /// The manager that runs the services: a `usernetes run`, or else the service manager.
    pub fn manager(&self) -> Result<Box<dyn Manager>> {
        Ok(match self.direct()? {
            Some(direct) => Box::new(direct),
            None => Box::new(self.systemd()?),
        })
    }

    /// Whether there are units for a service manager. If there are none, only `usernetes run` has ever run the services.
    pub fn has_units(&self) -> Result<bool> {
        let receipt = receipt::Receipt::read(self.layout.data_dir())?;
        Ok(receipt.is_some_and(|receipt| !receipt.units.is_empty()))
    }

    /// Where everything was when the units were written, if it was moved or copied since. The units name that place.
    pub fn moved_from(&self) -> Result<Option<PathBuf>> {
        let receipt = receipt::Receipt::read(self.layout.data_dir())?;
        Ok(receipt.and_then(|receipt| receipt.moved_from(&self.layout)))
    }

    /// Fails if the units cannot start this installation, because it was [moved](Self::moved_from).
    pub fn check_in_place(&self) -> Result<()> {
        let Some(old) = self.moved_from()? else {
            return Ok(());
        };
        Err(Error::new(
            Kind::Host,
            "the units name another place: the home was moved or copied",
        )
        .expected(self.layout.config().display())
        .found(old.display())
        .hint(WRITE_ANEW))
    }

    /// The administrator's client of the API server; `None` if it is not published on this machine.
    pub fn api(&self) -> Result<Option<Client>> {
        let Some(server) = api_address(&self.config) else {
            return Ok(None);
        };
        Client::new(server, &self.layout, Kubeconfig::Admin).map(Some)
    }

    /// Fails if certificates for this configuration could not be made. Changes nothing.
    pub fn check_pki(&self, config: &Config) -> Result<()> {
        access::check_pki(self.layout.config(), config, &self.machine).map(drop)
    }

    /// Makes the certificates that this configuration lacks. It stops nothing. Afterwards they are on disk.
    pub fn ensure_pki(&self, config: &Config) -> Result<pki::Ensured> {
        if config.machines.is_worker() {
            return Ok(pki::Ensured::default());
        }
        let request = access::pki_request(config, &self.machine);
        let (dir, now) = (self.layout.config(), SystemTime::now());
        pki::ensure(dir, &request, pki::Renew::Due, now)
    }

    /// The names and addresses that its certificates are made for.
    #[must_use]
    pub fn pki_request(&self) -> pki::Request {
        access::pki_request(&self.config, &self.machine)
    }

    /// Whether any of it runs: whether there are processes in its namespaces.
    #[must_use]
    pub fn is_running(&self) -> bool {
        first_process(&self.layout, &self.machine).is_some()
    }

    /// A command of this installation, for a child process: a process cannot leave the namespaces that it has entered.
    #[must_use]
    pub(crate) fn own_command(&self, words: &[&str]) -> Command {
        let mut command = self.machine.command(&self.layout.program("usernetes"));
        command.args(words);
        command
    }

    /// The absolute path of a program of the generation.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.layout.program(name);
        if program.exists() {
            return Ok(program);
        }
        Err(Error::new(
            Kind::Host,
            format!("generation {} has no `{name}`", self.generation.number()),
        )
        .expected(program.display())
        .hint("`usernetes list` shows what it has; install a bundle that has this program"))
    }

    /// Replaces the [written](Self::written) configuration, and the applied one, which running services must have already.
    /// Afterwards both are on disk.
    pub fn set_config(&self, written: &Config, applied: &Config) -> Result<()> {
        let data = self.layout.data_dir();
        let receipt = receipt::Receipt::read(data)?;
        let text = written.to_text();
        replace(&self.layout.config_file(), text.as_bytes(), 0o600)?;
        self.generation.keep_configuration(&applied.to_text())?;
        if let Some(mut receipt) = receipt {
            receipt.config = applied.to_text();
            receipt.write(data)?;
        }
        Ok(())
    }

    /// Remembers that everything was started after the last change.
    pub(crate) fn restarted(&self) -> Result<()> {
        let data = self.layout.data_dir();
        match receipt::Receipt::read(data)? {
            Some(mut receipt) if receipt.stale => {
                receipt.set_stale(false, &self.machine);
                receipt.write(data)
            }
            _ => Ok(()),
        }
    }
}

/// The layout of the installation, or of what is left of it, or of one that is about to be made.
pub(crate) fn present(store: &Store, machine: &Machine) -> Result<Layout> {
    let generation = store.current().ok().flatten();
    let path = generation.map_or_else(|| store.current_link(), |g| g.path().to_owned());
    layout(machine, path)
}

/// The first process in the cluster's namespaces, if there is one.
pub(crate) fn first_process(layout: &Layout, machine: &Machine) -> Option<Pid> {
    let pid = child_pid(&layout.rootlesskit()).ok()?;
    // Inside its namespaces it is root; outside it is the user.
    let process = PathBuf::from(format!("/proc/{pid}"));
    let ours = fs_err::metadata(process).is_ok_and(|m| m.uid() == machine.uid);
    ours.then_some(pid)
}

/// The next step if the units name another place than the present one.
pub(crate) const WRITE_ANEW: &str =
    "run `usernetes install`, which writes the units for where everything is now";

/// The user's directories. The directory for sockets is that of a running `usernetes run`, if there is one. Without a session,
/// it is the one that a session would have.
pub fn layout(machine: &Machine, generation: PathBuf) -> Result<Layout> {
    let data = paths::data_dir()?;
    let private = machine
        .private_dir
        .as_ref()
        .map(|dir| dir.join(paths::PROJECT));
    let runtime = match (private, Session::of(&data)?) {
        (Some(dir), _) => dir,
        (None, Some(session)) => session.runtime(),
        (None, None) => paths::runtime_dir()
            .unwrap_or_else(|_| machine.usual_session_dir().join(paths::PROJECT)),
    };
    Layout::new(paths::config_dir()?, data, runtime, generation)
}
