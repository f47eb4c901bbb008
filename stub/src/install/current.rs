//! What is installed, for the commands that use it.

use super::{layout, receipt::Receipt};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::layout::Layout;
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
    /// Its configuration.
    pub config: Config,
}

impl Current {
    /// Fails if nothing is installed, or only programs are.
    pub fn read() -> Result<Self> {
        let machine = Machine::this();
        let generation = Store::open_default()?.need_current()?;
        let layout = layout(&machine, generation.path().to_owned())?;
        let config = Config::read(&layout.config_file())?;
        Ok(Self {
            machine,
            generation,
            layout,
            config,
        })
    }

    /// The service manager.
    pub fn systemd(&self) -> Result<Systemd> {
        Systemd::of(&self.machine)
    }

    /// The name of a program of the generation, as an absolute path.
    pub fn program(&self, name: &str) -> Result<std::path::PathBuf> {
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

    /// Writes the configuration, and remembers that what runs follows it already.
    pub fn set_config(&mut self, config: Config) -> Result<()> {
        config.check()?;
        let data = self.layout.data("");
        let receipt = Receipt::read(&data)?;
        super::receipt::replace(&self.layout.config_file(), &config.to_text(), 0o600)?;
        if let Some(mut receipt) = receipt {
            receipt.config = config.to_text();
            receipt.write(&data)?;
        }
        self.config = config;
        Ok(())
    }

    /// Remembers that everything was started after the last change.
    pub fn restarted(&self) -> Result<()> {
        let data = self.layout.data("");
        match Receipt::read(&data)? {
            Some(mut receipt) if receipt.stale => {
                receipt.stale = false;
                receipt.write(&data)
            }
            _ => Ok(()),
        }
    }
}

/// The full name of a unit of ours that a person may shorten: `etcd`, `u7s-etcd`, `u7s-etcd.service`, `u7s.target`.
pub fn unit_name(text: &str) -> Result<String> {
    let names = crate::units::all_names();
    let candidates = [
        text.to_owned(),
        format!("{text}.service"),
        format!("u7s-{text}.service"),
        format!("u7s-{text}"),
        format!("{text}.target"),
        format!("u7s-{text}.target"),
    ];
    candidates
        .into_iter()
        .find(|name| names.contains(name))
        .ok_or_else(|| {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            Error::new(Kind::Usage, format!("there is no unit {text:?}")).expected(names.join(", "))
        })
}
