//! What is installed, for the commands that use it.

use std::path::PathBuf;

use super::receipt;
use super::settings::{self, api_address};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::files::replace;
use crate::host::Machine;
use crate::https::Client;
use crate::layout::Layout;
use crate::paths;
use crate::pki;
use crate::store::{Generation, Store};
use crate::systemd::Systemd;

/// The current generation and its configuration.
#[derive(Debug)]
pub struct Current {
    /// The machine it is on.
    pub machine: Machine,
    /// The generation.
    pub generation: Generation,
    /// Its directories.
    pub layout: Layout,
    /// The configuration that was applied last, which what runs follows. [`Self::written`] may be another one.
    pub config: Config,
}

impl Current {
    /// Fails if nothing is installed, or only programs are.
    pub fn read() -> Result<Self> {
        let machine = Machine::this();
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

    /// The configuration as `config.toml` says, which the next `install` applies.
    pub fn written(&self) -> Result<Config> {
        Config::read(&self.layout.config_file())
    }

    /// The service manager.
    pub fn systemd(&self) -> Result<Systemd> {
        Systemd::of(&self.machine)
    }

    /// How the administrator asks the API server; `None` if it is not published on this machine.
    pub fn api(&self) -> Result<Option<Client>> {
        let Some(server) = api_address(&self.config) else {
            return Ok(None);
        };
        let [ca, certificate, key] =
            ["ca.pem", "admin.pem", "admin-key.pem"].map(|name| self.layout.master(name));
        Client::new(server, &ca, &certificate, &key).map(Some)
    }

    /// What its certificates are made for.
    #[must_use]
    pub fn pki_request(&self) -> pki::Request {
        settings::pki_request(&self.config, &self.machine)
    }

    /// The name of a program of the generation, as an absolute path.
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
        .hint("`usernetes list` says what it has; install a bundle that has it"))
    }

    /// Replaces the configuration that is [written](Self::written), and the one that what runs follows already.
    pub fn set_config(&self, written: &Config, applied: &Config) -> Result<()> {
        let data = self.layout.data("");
        let receipt = receipt::Receipt::read(&data)?;
        let text = written.to_text();
        replace(&self.layout.config_file(), text.as_bytes(), 0o600)?;
        if let Some(mut receipt) = receipt {
            receipt.config = applied.to_text();
            receipt.write(&data)?;
        }
        Ok(())
    }

    /// Remembers that everything was started after the last change.
    pub(super) fn restarted(&self) -> Result<()> {
        let data = self.layout.data("");
        match receipt::Receipt::read(&data)? {
            Some(mut receipt) if receipt.stale => {
                receipt.stale = false;
                receipt.write(&data)
            }
            _ => Ok(()),
        }
    }
}

/// The user's directories. Where there is no session, sockets go where one would have them.
pub fn layout(machine: &Machine, generation: PathBuf) -> Result<Layout> {
    let runtime =
        paths::runtime_dir().unwrap_or_else(|_| machine.usual_session_dir().join(paths::PROJECT));
    Layout::new(
        paths::config_dir()?,
        paths::data_dir()?,
        runtime,
        generation,
    )
}
