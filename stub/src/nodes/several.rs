//! The first step from one control plane to several: this one becomes reachable for others.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::members::{Etcdctl, remember_members};
use crate::cluster::Current;
use crate::error::{Context as _, Error, Kind, Result};
use crate::progress::Progress;
use crate::services::{Service, Services};
use crate::store::Store;
use crate::systemd::Unit;

/// How long etcd may take to answer at the machine's address.
const PATIENCE: Duration = Duration::from_mins(2);

/// The services that are started in another way when there are several control planes.
const OTHERWISE: [Service; 5] = [
    Service::Etcd,
    Service::KubeControllerManager,
    Service::KubeScheduler,
    Service::NodeApprover,
    Service::Flanneld,
];

/// Lets other control planes reach this one's etcd at `address`, and turns on that only one controller manager and one scheduler
/// is active. Pods keep running. Does nothing if this was done before. Afterwards the configuration says so on disk.
pub(super) fn open(current: &Current, address: Ipv4Addr, progress: &Progress) -> Result<Current> {
    if current.config.machines.peer_address().is_none() {
        let store = Store::open_default()?.locked()?;
        store.sign()?;
        let (mut applied, mut written) = (current.config.clone(), current.written()?);
        for config in [&mut applied, &mut written] {
            config.machines.several_control_planes = true;
            config.check()?;
        }
        current.set_config(&written, &applied)?;
        restart(current)?;
        progress.line(format!(
            "this machine's etcd can be reached at {address}; who connects needs a certificate of its authority"
        ));
    }
    let current = Current::read()?;
    let etcdctl = Etcdctl::Direct(&current.layout, vec![address]);
    let members = etcdctl
        .members_within(PATIENCE)
        .about(|| format!("etcd does not answer at {address}"))
        .hint(|| "see `usernetes port list` and `usernetes logs etcd`".to_owned())?;
    // A cluster of one machine has given its only member an address that nobody else reaches.
    if let [alone] = members.as_slice()
        && alone.address != Some(address)
    {
        etcdctl.set_address(alone, address)?;
    }
    let members = etcdctl.members()?;
    if let Some(learner) = members.iter().find(|member| member.learner) {
        let name = learner
            .address
            .map_or_else(|| learner.hex(), |a| a.to_string());
        progress.line(format!(
            "another control plane, {name}, is joining; they join one at a time"
        ));
    }
    remember_members(&current.layout, &members)?;
    Ok(current)
}

/// Restarts those of the services that run.
fn restart(current: &Current) -> Result<()> {
    let services = Services::of(&current.config);
    let manager = current.manager()?;
    let units = manager.units(&services.units(&OTHERWISE))?;
    let running: Vec<_> = units
        .iter()
        .filter(|unit| !unit.is_stopped())
        .map(Unit::name)
        .collect();
    if running.is_empty() {
        return Err(Error::new(Kind::Failed, "the cluster does not run")
            .hint("start it with `usernetes start`"));
    }
    manager.restart(&running)
}
