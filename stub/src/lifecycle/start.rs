//! Starting units, until the cluster works.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::addons::Addons;
use super::ready::{PATIENCE, Phase, Waiter};
use super::services::to_start;
use crate::cluster::{Current, Versions};
use crate::components::{coredns, joining, rbac, runtime_class};
use crate::config::Target;
use crate::error::{Error, Kind, Result};
use crate::images;
use crate::layout::Credential;
use crate::manager::Manager;
use crate::nodes::check_not_expired;
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName, all_unit_names};
use crate::systemd::Unit;
use crate::text;

/// Directory of CoreDNS's image in a generation's `images/`.
const COREDNS_IMAGE: &str = "coredns";

/// Starts a unit, or the whole cluster, and waits until it works.
pub fn start(current: &Current, unit: Option<&UnitName>, progress: &Progress) -> Result<()> {
    current.check_in_place()?;
    let unit = match unit {
        Some(unit) => unit.to_string(),
        None => start_target(current)?.to_string(),
    };
    if current.config.machines.is_worker() {
        check_not_expired(&current.layout, SystemTime::now())?;
    }
    let manager = current.manager()?;
    bring_up(manager.as_ref(), current, &[unit], PATIENCE, progress).map(drop)
}

/// The target that is the whole cluster. Fails if the configuration names none.
pub fn start_target(current: &Current) -> Result<UnitName> {
    match current.config.start {
        Target::Nothing => Err(
            Error::new(Kind::Usage, "the configuration names no unit to start")
                .found(format!(
                    "`start = \"\"` in {}",
                    current.layout.config_file().display()
                ))
                .hint("name the unit, as in `usernetes start u7s.target`"),
        ),
        target => Ok(UnitName::target(target)),
    }
}

/// Starts units, and waits for the part of a cluster that they are: API server answers, roles and CoreDNS applied, API server
/// ready, all units active, node Ready, CoreDNS running. Each of these may take as long as `patience`.
///
/// The API server takes objects while it still makes its own roles, which takes two seconds on a fast machine. So CoreDNS is
/// there when the controller manager starts, which waits until the API server is ready.
pub(crate) fn bring_up(
    manager: &dyn Manager,
    current: &Current,
    starting: &[String],
    patience: Duration,
    progress: &Progress,
) -> Result<Vec<Phase>> {
    let (layout, config) = (&current.layout, &current.config);
    let services = Services::of(config);
    let running: BTreeSet<_> = starting
        .iter()
        .flat_map(|unit| services.started_by(unit))
        .collect();
    let wanted = services.units(&running);
    let names: Vec<UnitName> = all_unit_names().into_iter().collect();
    let before = manager.units(&names)?;
    // A unit that failed earlier and is not started yet would look as if it failed now.
    manager.reset_failed(&before)?;
    if before.iter().all(Unit::is_stopped) {
        current.restarted()?;
    }
    let starting: Vec<_> = starting.iter().flat_map(|u| to_start(u, &before)).collect();
    let waiter = Waiter::new(manager, progress, wanted.clone(), before, patience);
    let names: Vec<_> = starting.iter().map(String::as_str).collect();
    manager.start(&names)?;
    let api = if running.contains(&Service::KubeApiserver) {
        current.api()?
    } else {
        None
    };
    let image = images::name_if_bundled(layout, COREDNS_IMAGE)?;
    let mut phases = Vec::new();
    if let Some(client) = &api {
        phases.push(waiter.api_answers(client)?);
        // The node comes up meanwhile. flannel's daemon cannot, before it has its role.
        let mut objects = rbac::objects(config);
        objects.extend(runtime_class::objects(config));
        if config.machines.is_joinable() {
            objects.push(description(current)?);
        }
        if let Some(image) = &image {
            objects.extend(coredns::objects(config, image));
        }
        let addons = Addons::of(current)?;
        objects.extend(addons.apply);
        phases.push(waiter.apply(client, &objects, &addons.create)?);
        for addon in addons.missing {
            progress.line(format!(
                "this bundle has no image for {addon}, which is left out"
            ));
        }
        phases.push(waiter.api_ready(client)?);
    }
    phases.push(waiter.units()?);
    let states = manager.units(&wanted)?;
    phases.extend(each(&states));
    let state = |service| {
        let name = services.unit(service);
        states.iter().find(|u| name == *u.name())
    };
    if let (Some(client), Some(kubelet), Some(rootlesskit)) =
        (&api, state(Service::Kubelet), state(Service::Rootlesskit))
    {
        phases.push(waiter.node(client, config, kubelet)?);
        if image.is_some() {
            phases.push(waiter.dns(client, config, rootlesskit, kubelet.name())?);
        }
    }
    // The node asks for itself, because it has no other identity.
    if let (true, Some(kubelet)) = (config.machines.is_worker(), state(Service::Kubelet)) {
        phases.push(waiter.node(&current.node_api()?, config, kubelet)?);
    }
    Ok(phases)
}

/// The cluster as it describes itself to other machines.
pub(super) fn description(current: &Current) -> Result<Value> {
    let manifest = current.generation.manifest();
    let kubernetes = Versions::of(manifest).kubernetes;
    let release = manifest.release.to_string();
    let authority = current.layout.certificate(Credential::ClusterAuthority);
    let authorities = text::read(&authority)?;
    Ok(joining::description(
        &current.config,
        &kubernetes,
        &release,
        &authorities,
    ))
}

/// How long each unit took by itself, as systemd measured it.
fn each(units: &[Unit]) -> Vec<Phase> {
    let took = units.iter().filter_map(|unit| {
        let seconds = Duration::from_micros(unit.start_up()?).as_secs_f64();
        Some(Phase {
            name: format!("  {}", unit.name()),
            seconds,
        })
    });
    took.collect()
}
