//! Publishing ports of this machine while the cluster runs.

use crate::cluster::Current;
use crate::config::{Config, PortSpec, PublishServices};
use crate::error::{Error, Kind, Result};
use crate::ports::{Entry, Record};
use crate::progress::Progress;
use crate::rootlesskit::Rootlesskit;
use crate::store::Store;

/// Publishes a port now, if the cluster runs, and at every start. Afterwards the configuration says so on disk.
pub fn publish(port: &PortSpec, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    let current = Current::read()?;
    // The running cluster may use an older configuration than the one in the file.
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    if published(&applied, port) && published(&written, port) {
        progress.line(format!("{port} is already published"));
        return Ok(());
    }
    let new = !published(&applied, port);
    for config in [&mut applied, &mut written] {
        if !published(config, port) {
            config.publish.push(*port);
        }
        config.check()?;
    }
    // The steps that can fail come first: a key may be damaged, another program may have the port.
    current.check_pki(&applied)?;
    let rootlesskit = Rootlesskit::of(&current.layout);
    if new && rootlesskit.is_running() {
        rootlesskit.add_port(port, applied.node_ip())?;
    }
    current.set_config(&written, &applied)?;
    if current.ensure_pki(&applied)?.serves_api() {
        progress.line(
            "the API server has a new certificate with this address and will load it within a minute",
        );
    }
    Ok(())
}

/// Turns on, at an address, or off that services are published by themselves. The service `ports` notices it within
/// seconds. Afterwards the configuration says so on disk.
pub fn publish_services(address: PublishServices, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    let current = Current::read()?;
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    for config in [&mut applied, &mut written] {
        config.publish_services = address;
        config.check()?;
    }
    current.set_config(&written, &applied)?;
    progress.line(match address.0 {
        Some(ip) => format!("services that ask for a port of the node are published at {ip} by themselves; `usernetes port list` shows them"),
        None => "services are not published by themselves any more".to_owned(),
    });
    Ok(())
}

/// Stops publishing a port, now and at every later start. Afterwards the configuration says so on disk.
pub fn unpublish(port: &PortSpec) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    let current = Current::read()?;
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    if !published(&applied, port) && !published(&written, port) {
        let list: Vec<_> = applied.publish.iter().map(ToString::to_string).collect();
        return Err(
            Error::new(Kind::Usage, format!("{port} is not published")).expected(list.join(", "))
        );
    }
    for config in [&mut applied, &mut written] {
        let node_ip = config.node_ip();
        config.publish.retain(|p| !p.is_same_way(port, node_ip));
        config.check()?;
    }
    // In this order, the service that keeps ports open does not open it again.
    current.set_config(&written, &applied)?;
    let rootlesskit = Rootlesskit::of(&current.layout);
    if rootlesskit.is_running() {
        rootlesskit.remove_port(port)?;
    }
    Ok(())
}

/// The ports of the configuration, and those that the running cluster looks after, with their states. If the cluster does
/// not run, none is open.
#[must_use]
pub fn ports(current: &Current) -> Vec<Entry> {
    let record = Rootlesskit::of(&current.layout)
        .is_running()
        .then(|| Record::read(&current.layout));
    let known = record.unwrap_or_default().ports;
    let node_ip = current.config.node_ip();
    let of_config = current.config.publish.iter().map(|port| {
        let same = |entry: &&Entry| {
            let spec = entry.spec().filter(|_| entry.owner.is_empty());
            spec.is_some_and(|spec| spec.is_same_way(port, node_ip))
        };
        let unknown = || Entry {
            port: port.to_string(),
            owner: String::new(),
            open: false,
            why: String::new(),
        };
        known.iter().find(same).cloned().unwrap_or_else(unknown)
    });
    let of_others = known.iter().filter(|entry| !entry.owner.is_empty());
    of_config.chain(of_others.cloned()).collect()
}

/// Whether a configuration publishes a port, with its child address written or not.
fn published(config: &Config, port: &PortSpec) -> bool {
    let node_ip = config.node_ip();
    config.publish.iter().any(|p| p.is_same_way(port, node_ip))
}
