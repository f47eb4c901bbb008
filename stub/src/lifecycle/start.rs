//! From a unit to a cluster that works.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ready::{Phase, Waiter};
use super::services::to_start;
use crate::cluster::Current;
use crate::components::{coredns, rbac};
use crate::error::Result;
use crate::images;
use crate::layout::Layout;
use crate::manager::Manager;
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName, all_unit_names};
use crate::systemd::Unit;

/// Directory of CoreDNS's image in a generation's `images/`.
const COREDNS_IMAGE: &str = "coredns";

/// Starts a unit of what is installed, and waits until it works.
pub fn start(current: &Current, unit: &str, progress: &Progress) -> Result<()> {
    let manager = current.manager()?;
    bring_up(manager.as_ref(), current, &[unit.to_owned()], progress).map(drop)
}

/// Starts units, and waits for as much of a cluster as they are: API server ready, roles and CoreDNS applied, all units
/// active, node Ready, CoreDNS running.
pub(crate) fn bring_up(
    manager: &dyn Manager,
    current: &Current,
    starting: &[String],
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
    // One whose turn has not come yet would go on being what it was, and look as if it failed now.
    manager.reset_failed(&before)?;
    if before.iter().all(Unit::is_stopped) {
        current.restarted()?;
    }
    let starting: Vec<_> = starting.iter().flat_map(|u| to_start(u, &before)).collect();
    let waiter = Waiter::new(manager, progress, wanted.clone(), before);
    let names: Vec<_> = starting.iter().map(String::as_str).collect();
    manager.start(&names)?;
    let api = if running.contains(&Service::KubeApiserver) {
        current.api()?
    } else {
        None
    };
    let image = coredns_image(layout)?;
    let mut phases = Vec::new();
    if let Some(client) = &api {
        phases.push(waiter.api(client)?);
        // The node comes up meanwhile; flannel's daemon cannot before it has its role.
        let mut objects = rbac::objects(config);
        if let Some(image) = &image {
            objects.extend(coredns::objects(config, image));
        }
        phases.push(waiter.apply(client, &objects)?);
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
            phases.push(waiter.dns(client, rootlesskit, kubelet.name())?);
        }
    }
    Ok(phases)
}

/// The name of CoreDNS's image, if the generation brings it.
fn coredns_image(layout: &Layout) -> Result<Option<String>> {
    if !layout
        .generation()
        .join("images")
        .join(COREDNS_IMAGE)
        .exists()
    {
        return Ok(None);
    }
    images::bundled_name(layout, COREDNS_IMAGE).map(Some)
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
