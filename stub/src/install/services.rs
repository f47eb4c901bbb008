//! What a unit starts, and whether there are programs for it.

use std::collections::BTreeSet;

use super::Start;
use crate::bundle::Manifest;
use crate::components::Daemon;
use crate::config::{Config, Cri, Target};
use crate::error::{Error, Kind, Result};
use crate::systemd::Unit;
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

/// The daemon of a service.
fn daemon(service: &str) -> Option<Daemon> {
    let is = |daemon: &Daemon| {
        Cri::ALL
            .iter()
            .any(|cri| units::unit_name(*daemon, *cri) == service)
    };
    Daemon::ALL.into_iter().find(is)
}

/// The target that starts a service again when it ends; `None` for RootlessKit and for targets.
pub(super) fn upholder(service: &str) -> Option<Target> {
    let daemon = daemon(service).filter(|d| *d != Daemon::Rootlesskit)?;
    Some(units::home(daemon))
}

/// The targets that starting a target starts, itself first.
fn targets(target: Target) -> &'static [Target] {
    use Target::{All, Etcd, Master, MasterWithEtcd, Node, Nothing};
    match target {
        All => &[All, MasterWithEtcd, Etcd, Master, Node],
        MasterWithEtcd => &[MasterWithEtcd, Etcd, Master],
        Master => &[Master],
        Etcd => &[Etcd],
        Node => &[Node],
        Nothing => &[],
    }
}

/// What systemd must be told to start so that all of a unit is there, with the states of all units. A target that is
/// active already is not looked through by systemd for targets that were stopped since (seen with 252); and a service
/// whose target was stopped so that it could be, needs that again.
pub(super) fn to_start(unit: &str, states: &[Unit]) -> Vec<String> {
    let state = |name: &str| states.iter().find(|u| u.name() == name);
    let active = |name: &str| state(name).is_some_and(Unit::is_active);
    let lost =
        |target: &&Target| state(target.as_str()).is_some_and(|u| u.exists() && u.is_stopped());
    let mut names = vec![unit.to_owned()];
    if let Ok(target) = unit.parse::<Target>() {
        let below = targets(target).iter().filter(|_| active(unit));
        names.extend(below.filter(lost).map(Target::to_string));
    } else if let Some(target) = upholder(unit).filter(|t| lost(&t)) {
        let above = Target::ALL
            .iter()
            .filter(|t| targets(**t).contains(&target));
        let beside = states.iter().filter(|u| upholder(u.name()) == Some(target));
        if above.map(|t| t.as_str()).any(active) || beside.map(Unit::name).any(active) {
            names.push(target.to_string());
        }
    }
    names
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::parse;

    /// All units, of which these are active.
    fn states(active: &[&str]) -> Vec<Unit> {
        let block = |name: &String| {
            let state = if active.contains(&name.as_str()) {
                "active"
            } else {
                "inactive"
            };
            format!("Id={name}\nLoadState=loaded\nActiveState={state}\n\n")
        };
        parse(&units::all_names().iter().map(block).collect::<String>())
    }

    #[test]
    fn what_was_stopped_below_an_active_target_is_started_by_name() {
        let all = "u7s.target";
        assert_eq!(to_start(all, &states(&[])), [all]);
        let with_etcd = "u7s-master-with-etcd.target";
        let running = [all, with_etcd, "u7s-etcd.target", "u7s-node.target"];
        assert_eq!(to_start(all, &states(&running)), [all, "u7s-master.target"]);
        let etcd = "u7s-etcd.target";
        assert_eq!(to_start(etcd, &states(&running)), [etcd]);
    }

    #[test]
    fn a_service_gets_its_target_back_if_that_was_there() {
        let (scheduler, target) = ("u7s-kube-scheduler.service", "u7s-master.target");
        for running in [&["u7s.target"][..], &["u7s-kube-apiserver.service"]] {
            assert_eq!(to_start(scheduler, &states(running)), [scheduler, target]);
        }
        for running in [&[][..], &[target], &["u7s-node.target"]] {
            assert_eq!(to_start(scheduler, &states(running)), [scheduler]);
        }
        assert_eq!(upholder("u7s-kubelet-crio.service"), Some(Target::Node));
        assert_eq!(upholder("u7s-rootlesskit.service"), None);
        assert_eq!(upholder(target), None);
    }
}
