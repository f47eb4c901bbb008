//! The services that a unit starts, and whether there are programs for them.

use crate::bundle::Manifest;
use crate::config::{Config, Target};
use crate::services::{Service, Services, with_wanted};
use crate::systemd::Unit;

/// The services that the configuration needs and the bundle has no program for.
#[must_use]
pub fn missing(config: &Config, manifest: &Manifest) -> Vec<Service> {
    let has = |program: &str| manifest.component_with(&format!("bin/{program}")).is_some();
    Services::of(config)
        .iter()
        .filter(|service| !service.row().own && !has(service.as_str()))
        .collect()
}

/// The target that starts a service again when it ends; `None` for RootlessKit and for targets.
pub(crate) fn upholder(unit: &str) -> Option<Target> {
    Service::of_unit(unit)?.upheld_by()
}

/// The units that systemd must start so that all of a unit runs, given the states of all units. If a target is active
/// already, systemd does not start targets below it that were stopped since (seen with 252). If a service's target was
/// stopped together with the service, it is needed again.
pub(crate) fn to_start(unit: &str, states: &[Unit]) -> Vec<String> {
    let state = |name: &str| states.iter().find(|u| u.name() == name);
    let active = |name: &str| state(name).is_some_and(Unit::is_active);
    let lost =
        |target: &Target| state(target.as_str()).is_some_and(|u| u.exists() && u.is_stopped());
    let mut names = vec![unit.to_owned()];
    if let Ok(target) = unit.parse::<Target>() {
        let below = with_wanted(target).into_iter().filter(|_| active(unit));
        names.extend(below.filter(lost).map(|t| t.to_string()));
    } else if let Some(target) = upholder(unit).filter(lost) {
        let above = Target::ALL
            .iter()
            .filter(|t| with_wanted(**t).contains(&target));
        let beside = states.iter().filter(|u| upholder(u.name()) == Some(target));
        if above.map(|t| t.as_str()).any(active) || beside.map(Unit::name).any(active) {
            names.push(target.to_string());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{UnitName, all_unit_names};
    use crate::systemd::parse;

    /// All units, of which these are active.
    fn states(active: &[&str]) -> Vec<Unit> {
        let block = |name: &UnitName| {
            let state = if active.contains(&name.as_str()) {
                "active"
            } else {
                "inactive"
            };
            format!("Id={name}\nLoadState=loaded\nActiveState={state}\n\n")
        };
        parse(&all_unit_names().iter().map(block).collect::<String>())
    }

    #[test]
    fn targets_that_were_stopped_below_an_active_one_are_started_by_name() {
        let all = "u7s.target";
        assert_eq!(to_start(all, &states(&[])), [all]);
        let with_etcd = "u7s-master-with-etcd.target";
        let running = [all, with_etcd, "u7s-etcd.target", "u7s-node.target"];
        assert_eq!(to_start(all, &states(&running)), [all, "u7s-master.target"]);
        let etcd = "u7s-etcd.target";
        assert_eq!(to_start(etcd, &states(&running)), [etcd]);
    }

    #[test]
    fn a_service_gets_its_target_back_if_that_was_stopped_with_it() {
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
