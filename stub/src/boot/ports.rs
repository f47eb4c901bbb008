//! The service that keeps ports published: those of the configuration and, if they are to be, those of services and pods.

mod objects;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::flannel;
use crate::api::{Client, MERGE_PATCH};
use crate::cluster;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::layout::{Kubeconfig, Layout};
use crate::ports::{Exposed, Keeper, Status, Wish};
use crate::process::say;
use objects::Objects;

/// The time between two comparisons, if nothing happens. A port that another program gives up is open after this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps ports published until this process is told to stop. `port publish` changes the configuration while it runs.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let mut keeper = Keeper::new(layout);
    let mut objects = Objects::new(layout);
    let mut config = config.clone();
    loop {
        match cluster::applied(layout) {
            Ok(applied) => config = applied,
            Err(error) => say(format!("the configuration stays as it was: {error}")),
        }
        objects.follow(&config);
        round(&mut keeper, &objects, layout, &config)?;
        objects.wait(INTERVAL);
    }
}

/// Compares once.
fn round(keeper: &mut Keeper, objects: &Objects, layout: &Layout, config: &Config) -> Result<()> {
    let ip = config.publish_services.0;
    let exposed = ip.and_then(|_| objects.exposed());
    let mut wishes = Wish::of(config);
    match (ip, &exposed) {
        (Some(ip), Some(exposed)) => wishes.extend(exposed.iter().flat_map(|e| e.wishes(ip))),
        // Which of these objects still exist is not known yet.
        (Some(_), None) => wishes.extend(keeper.remembered()),
        (None, _) => {}
    }
    keeper.compare(&wishes, config.node_ip())?;
    let mut addressed = keeper.record().addressed.clone();
    // The addresses of services are those of the control plane: a node may not write them.
    let changes = if config.machines.is_worker() {
        Vec::new()
    } else {
        changes(keeper, exposed.as_deref(), ip)
    };
    let mut trouble = ip.map(|_| objects.trouble()).unwrap_or_default();
    if !changes.is_empty() {
        let told = tell(layout, config, changes, &mut addressed);
        if let Err(error) = told {
            error.message().clone_into(&mut trouble);
        }
    }
    keeper.note(addressed, trouble)
}

/// The statuses of services that are to be changed: `exposed` are the objects that ask for ports, if they are known. If
/// services are not published, none has an address of ours.
fn changes(keeper: &Keeper, exposed: Option<&[Exposed]>, ip: Option<Ipv4Addr>) -> Vec<Status> {
    let record = keeper.record();
    let Some(ip) = ip else {
        return record
            .addressed
            .iter()
            .map(|owner| Status::none(owner))
            .collect();
    };
    let host = if ip.is_unspecified() {
        flannel::reached_at().unwrap_or(Ipv4Addr::LOCALHOST)
    } else {
        ip
    };
    let status = |exposed: &Exposed| {
        let owner = exposed.owner();
        let open = record.ports.iter().any(|e| e.open && e.owner == owner);
        exposed.status(open, record.addressed.contains(owner), host)
    };
    exposed.into_iter().flatten().filter_map(status).collect()
}

/// Writes statuses, and keeps account of those that have an address. One that cannot be written is tried again at the next
/// comparison; a service that is gone has none.
fn tell(
    layout: &Layout,
    config: &Config,
    changes: Vec<Status>,
    addressed: &mut BTreeSet<String>,
) -> Result<()> {
    let client = client(layout, config)?;
    let mut complaint = Ok(());
    for status in changes {
        let Some((path, patch)) = status.patch() else {
            continue;
        };
        match client.patch(&path, MERGE_PATCH, &patch)?.status {
            200 if !status.addresses.is_null() => drop(addressed.insert(status.owner)),
            200 | 404 => drop(addressed.remove(&status.owner)),
            other => {
                let text = format!("the status of {} cannot be written: {other}", status.owner);
                complaint = Err(Error::new(Kind::Failed, text));
            }
        }
    }
    complaint
}

/// The API server, with the identity of this service, or that of the node on a worker.
fn client(layout: &Layout, config: &Config) -> Result<Client> {
    if config.machines.is_worker() {
        return cluster::node_api(layout, config);
    }
    let server = cluster::api_address(config).ok_or_else(|| {
        Error::new(
            Kind::Input,
            "the API server is not published on this machine",
        )
        .hint("publish it at 127.0.0.1")
    })?;
    Client::new(server, layout, Kubeconfig::Ports)
}
