//! What a unit starts, and whether there are programs for it.

use std::collections::BTreeSet;

use super::Start;
use crate::bundle::Manifest;
use crate::components::Daemon;
use crate::config::{Config, Target};
use crate::error::{Error, Kind, Result};
use crate::units;

/// The daemons that the configuration asks for and the bundle has no program for.
#[must_use]
pub fn missing(config: &Config, manifest: &Manifest) -> Vec<Daemon> {
    let has = |program: &str| {
        let path = format!("bin/{program}");
        let files = manifest.components.iter().flat_map(|c| {
            c.files
                .iter()
                .map(|f| &f.path)
                .chain(c.links.iter().map(|l| &l.path))
        });
        files.into_iter().any(|p| p.as_str() == path)
    };
    units::daemons(config)
        .into_iter()
        .filter(|daemon| !has(daemon.as_str()))
        .collect()
}

/// The services that starting a unit starts.
#[must_use]
pub fn members(unit: &str, config: &Config) -> Vec<String> {
    use Daemon::{
        Etcd, Flanneld, KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler, Kubelet,
        Rootlesskit,
    };
    let daemons = units::daemons(config);
    let names = |wanted: &[Daemon]| -> Vec<String> {
        let there = daemons.iter().filter(|d| wanted.contains(d));
        there.map(|d| units::unit_name(*d, config.cri)).collect()
    };
    match unit.parse() {
        Ok(Target::All) => names(&Daemon::ALL),
        Ok(Target::MasterWithEtcd | Target::Master) => names(&[
            Rootlesskit,
            Etcd,
            KubeApiserver,
            KubeControllerManager,
            KubeScheduler,
        ]),
        Ok(Target::Etcd) => names(&[Rootlesskit, Etcd]),
        Ok(Target::Node) => names(&[Rootlesskit, Kubelet, KubeProxy, Flanneld]),
        Ok(Target::Nothing) => Vec::new(),
        Err(_) => {
            let rootlesskit = units::unit_name(Rootlesskit, config.cri);
            let both = BTreeSet::from([rootlesskit, unit.to_owned()]);
            both.into_iter().collect()
        }
    }
}

/// Fails if what is to be started has no program, or is not part of the configuration.
pub(super) fn check_start(start: &Start, config: &Config, manifest: &Manifest) -> Result<()> {
    let lacking = missing(config, manifest);
    let wanted = members(start.unit(), config);
    let names: Vec<_> = lacking
        .iter()
        .filter(|d| wanted.contains(&units::unit_name(**d, config.cri)))
        .map(|d| d.as_str())
        .collect();
    if !names.is_empty() {
        return Err(Error::new(Kind::Usage, format!("{} cannot be started", start.unit()))
            .expected(format!("programs for {}", names.join(", ")))
            .found("a bundle without them")
            .hint("use a complete bundle, or start a part with `--start u7s-etcd.target`, or nothing with `--start \"\"`"));
    }
    let known = wanted.iter().all(|name| {
        units::daemons(config)
            .iter()
            .any(|d| units::unit_name(*d, config.cri) == *name)
    });
    if known {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!("{} is not part of this configuration", start.unit()),
    )
    .found(format!(
        "`cri = \"{}\"`, `cni = \"{}\"`",
        config.cri, config.cni
    ))
    .hint("choose the runtime or the pod network it belongs to with `--cri` or `--cni`"))
}
