//! The machines of scenarios, and what scenarios do with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use support::scenario::{Guests, NAMES, Release, Scenario, Step};

use crate::Result;
use crate::broken;
use crate::engine::{Engine, Link};
use crate::guest::Guest;
use crate::image::Image;
use crate::network::Network;

/// The bundles that the machines get.
#[derive(Debug, Clone)]
pub struct Bundles {
    /// The one that every machine has.
    pub bundle: PathBuf,
    /// That of a newer release.
    pub newer: Option<PathBuf>,
}

/// They exist as soon as a scenario needs them. Either the shared one is on, or several are.
#[derive(Debug)]
pub struct Machines {
    image: Image,
    engine: Engine,
    bundles: Bundles,
    work: PathBuf,
    network: Option<Arc<Network>>,
    shared: Option<Guest>,
    several: Vec<Guest>,
}

impl Machines {
    pub fn new(image: &Image, engine: Engine, bundles: &Bundles, work: &Path) -> Self {
        Self {
            image: image.clone(),
            engine,
            bundles: bundles.clone(),
            work: work.to_owned(),
            network: None,
            shared: None,
            several: Vec::new(),
        }
    }

    /// Boots the machines that a scenario needs, and ends those that it does not need: together they would take too much memory.
    pub fn ready_for(&mut self, guests: Guests) -> Result<()> {
        let Guests::Several { count, empty } = guests else {
            self.several.clear();
            if self.shared.is_none() {
                self.shared = Some(self.make(None)?);
            }
            return start(self.shared.as_mut());
        };
        if let Some(shared) = &mut self.shared
            && shared.running()
        {
            shared.power_off();
        }
        if empty {
            self.several.clear();
        }
        for (number, name) in NAMES.iter().enumerate().take(count) {
            if self.several.len() <= number {
                let guest = self.make(Some((number, name)))?;
                self.several.push(guest);
            }
        }
        start(&mut self.several[..count])
    }

    fn make(&mut self, several: Option<(usize, &str)>) -> Result<Guest> {
        let link = match several {
            None => self.engine.alone()?,
            Some(_) => None,
        };
        let link = match link {
            Some(link) => link,
            None => Link::Bridge(self.network()?),
        };
        let engine = (self.engine.clone(), link);
        Guest::new(
            &self.image,
            engine,
            several,
            &self.bundles.bundle,
            &self.work,
        )
    }

    fn network(&mut self) -> Result<Arc<Network>> {
        if let Some(network) = &self.network {
            return Ok(Arc::clone(network));
        }
        let network = Arc::new(Network::make()?);
        self.network = Some(Arc::clone(&network));
        Ok(network)
    }

    /// Runs a scenario on the machines that are ready for it.
    pub fn run(&mut self, scenario: &Scenario) -> Result<()> {
        let guests = match scenario.guests {
            Guests::Shared => self.shared.as_mut_slice(),
            Guests::Several { .. } => &mut self.several,
        };
        for step in &scenario.steps {
            match step {
                Step::Script(on, text) => {
                    if let Guests::Several { .. } = scenario.guests {
                        eprintln!("── on {}", guests[*on].name);
                    }
                    guests[*on].script(text, !scenario.takes.is_empty())?;
                }
                Step::Root(on, command) => guests[*on].root(command)?,
                Step::Reboot(on) => guests[*on].reboot()?,
                Step::Cut(which) => guests[*which].connect(false)?,
                Step::Heal(which) => guests[*which].connect(true)?,
                Step::Kill(which) => guests[*which].stop(),
                Step::Start(which) => guests[*which].start()?,
                Step::Release(on, release) => {
                    let file = release_file(release, &self.bundles, &self.work)?;
                    let content = fs_err::read(file).map_err(|e| e.to_string())?;
                    guests[*on].write(&release.file(), &content)?;
                }
                Step::Copy { from, to } => {
                    let content = guests[from.0].read(&from.1)?;
                    guests[to.0].write(&to.1, &content)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a machine has ended by itself.
    pub fn ended(&mut self) -> bool {
        let mut guests = self.shared.iter_mut().chain(&mut self.several);
        guests.any(Guest::ended)
    }

    /// For a person who wants to look around.
    pub fn leave_running(mut self) {
        for guest in self.shared.iter_mut().chain(&mut self.several) {
            if guest.running() {
                eprintln!("{} is left running: {}", guest.name, guest.ssh_command());
            }
        }
        // Nothing is dropped, so nothing is stopped.
        std::mem::forget(self);
    }
}

/// The file of a release, which is made if it is a broken one.
fn release_file(release: &Release, bundles: &Bundles, work: &Path) -> Result<PathBuf> {
    match release {
        Release::Newer => bundles.newer.clone().ok_or_else(|| {
            format!(
                "only a scenario that needs `{}` can use one",
                Release::NEWER
            )
        }),
        Release::Broken { program, ends } => {
            let file = work.join(release.file());
            broken::copy(&bundles.bundle, program, *ends, &file)?;
            Ok(file)
        }
    }
}

/// Boots those machines that are off, at the same time.
fn start<'a>(guests: impl IntoIterator<Item = &'a mut Guest>) -> Result<()> {
    thread::scope(|scope| {
        let off = guests.into_iter().filter_map(|guest| {
            let off = !guest.running();
            off.then(|| scope.spawn(|| guest.start()))
        });
        let starting: Vec<_> = off.collect();
        starting.into_iter().try_for_each(|start| {
            let ended = start.join();
            ended.unwrap_or_else(|_| Err("a machine cannot be started".to_owned()))
        })
    })
}
