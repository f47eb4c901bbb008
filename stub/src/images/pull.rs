//! Loads images into CRI-O: `crictl pull` pulls them from a registry in this process.

use std::collections::BTreeSet;
use std::path::PathBuf;
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
    /// The registry's port on the loopback address.
    pub(crate) port: u16,
    /// The repositories that their names contain, for example `registry.k8s.io/pause`.
    pub(crate) repositories: BTreeSet<String>,
    /// The names of the generation's images.
    pub(crate) bundled: Vec<String>,
    /// The names of the user's images.
    own: Vec<String>,
}

impl Offer {
    /// Starts a registry with all images, which runs as long as this process. If an image of the generation cannot be read,
    /// this fails. If one of the user's cannot be read, this is reported, and the others are offered.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let [bundled, own] = all_sources(layout)?;
        Self::of(&bundled, &own)
    }

    /// The same with the user's images only.
    pub(crate) fn open_own(layout: &Layout) -> Result<Self> {
        let [_, own] = all_sources(layout)?;
        Self::of(&[], &own)
    }

    fn of(bundled: &[PathBuf], own: &[PathBuf]) -> Result<Self> {
        let mut registry = Registry::default();
        let mut names = [Vec::new(), Vec::new()];
        for (source, must) in marked(bundled, own) {
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

    /// Pulls all images. CRI-O does not read parts that it already has.
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

/// The generation's items, then the user's. Each is marked with whether the cluster must have it.
fn marked<'a, T>(bundled: &'a [T], own: &'a [T]) -> impl Iterator<Item = (&'a T, bool)> {
    let bundled = bundled.iter().map(|one| (one, true));
    bundled.chain(own.iter().map(|one| (one, false)))
}
