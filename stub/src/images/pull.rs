//! Images for CRI-O, which pulls them from a registry of ours with `crictl pull`.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use super::contents::Contents;
use super::registry::Registry;
use super::{all_sources, report, report_failure};
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;
use crate::process::supervise;

/// The images that can be pulled on this machine without a network.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The port on the loopback address where they are.
    pub(crate) port: u16,
    /// Where they seem to be: `registry.k8s.io/pause`.
    pub(crate) repositories: BTreeSet<String>,
    /// Names of the generation's.
    pub(crate) bundled: Vec<String>,
    /// Names of the user's.
    own: Vec<String>,
}

impl Offer {
    /// Offers what is there, as long as this process lives. Images of the generation must be readable; one of the user's that
    /// is not is reported and passed over.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let mut registry = Registry::default();
        let mut names = [Vec::new(), Vec::new()];
        let [bundled, own] = all_sources(layout)?;
        for (source, must) in marked(&bundled, &own) {
            match Contents::of(source).about(|| source.display()) {
                Ok(contents) => {
                    let images = contents.images.iter();
                    names[usize::from(!must)].extend(images.map(|image| image.name.clone()));
                    registry.add(contents);
                }
                Err(error) if must => return Err(error),
                Err(error) => report_failure(&error),
            }
        }
        let [bundled, own] = names;
        Ok(Self {
            repositories: registry.repositories(),
            port: registry.serve()?,
            bundled,
            own,
        })
    }

    /// Pulls all of them. What is there already is not read again.
    pub(crate) fn pull(&self, crictl: impl Fn() -> Command) -> Result<()> {
        for (name, must) in marked(&self.bundled, &self.own) {
            let started = Instant::now();
            let mut pull = crictl();
            pull.args(["pull", name]);
            match supervise::output(pull) {
                Ok(_) => report(name, started),
                Err(error) if must => {
                    return Err(Error::new(
                        Kind::Failed,
                        format!("image {name} of the bundle: {error}"),
                    ));
                }
                Err(error) => report_failure(&error.about(name)),
            }
        }
        Ok(())
    }
}

/// First what is the generation's, then what is the user's; with each, whether the cluster cannot do without.
fn marked<'a, T>(bundled: &'a [T], own: &'a [T]) -> impl Iterator<Item = (&'a T, bool)> {
    let bundled = bundled.iter().map(|one| (one, true));
    bundled.chain(own.iter().map(|one| (one, false)))
}
