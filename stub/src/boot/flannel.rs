//! Runs flannel's daemon, and connects pods to the network that it gets for the node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fs_err as fs;

use super::apiserver::wait_pod_network;
use super::{Here, write_files};
use crate::components;
use crate::config::Config;
use crate::error::{Context, Result};
use crate::files::remove_if_there;
use crate::host::{ELSEWHERE, Machine, address_towards};
use crate::layout::{Kubeconfig, Layout};
use crate::network::flannel;
use crate::process::namespaces::join;
use crate::process::supervise::Supervisor;
use crate::process::{command, say};
use crate::render::ConfigFile;
use crate::services::{Namespaces, Service};

/// How long to wait before looking again whether flannel has written its file.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs flannel's daemon to its end and returns its exit code. As soon as the daemon has written which network the node's
/// pods have, this writes the configuration of that network, for which the container runtime waits.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let start = components::start(Service::Flanneld, layout, config, &Here { layout, config })?;
    write_files(start.files)?;
    join(layout, Namespaces::Files)?;
    // The daemon exits if the node has no network yet, and the controller manager takes a while to assign one.
    let identity = Service::Flanneld.kubeconfig(config);
    wait_pod_network(layout, config, identity.unwrap_or(Kubeconfig::Flannel))?;
    let file = Path::new(flannel::SUBNET_FILE);
    remove_if_there(file)?;
    let mut daemon = command(layout, start.args);
    daemon.env("NODE_NAME", config.node_name.as_str());
    let outcome = Supervisor::new()?.run(daemon, |_| {
        let largest = config.machines.pod_mtu();
        thread::spawn(move || {
            if let Err(error) = connect_pods(file, largest) {
                say(format!("cannot connect pods to the network: {error}"));
            }
        });
    })?;
    Ok(outcome.code)
}

fn connect_pods(file: &Path, largest: Option<u32>) -> Result<()> {
    write_files(vec![pod_network(file, largest)?])
}

/// Waits until flannel's daemon has written its file, and returns the configuration of the network that the file describes.
/// `largest` is the size of the largest packet that other machines can get; `tap0`, which flannel looks at, allows larger ones.
fn pod_network(file: &Path, largest: Option<u32>) -> Result<ConfigFile> {
    while !file.exists() {
        thread::sleep(INTERVAL);
    }
    let mut bridge = flannel::bridge(&fs::read_to_string(file)?).about(|| file.display())?;
    bridge.mtu = bridge.mtu.into_iter().chain(largest).min();
    say(format!(
        "the network of this node's pods is {}",
        bridge.subnet
    ));
    Ok(bridge.file())
}

/// The address at which other machines reach this one: that of the default route or, on a machine without one, the first of
/// its addresses. A machine without any address reaches nobody; flannel then only needs an address that is its own.
pub(super) fn outward_address(own: Ipv4Addr) -> Ipv4Addr {
    let of_default_route = match default_route() {
        Ok(address) => Some(address),
        Err(error) => {
            say(format!("this machine has no default route: {error}"));
            None
        }
    };
    chosen(of_default_route, &Machine::this().addresses(), own)
}

/// The same, without a word; `None` if it has no address that other machines reach.
pub(super) fn reached_at() -> Option<Ipv4Addr> {
    let unknown = Ipv4Addr::UNSPECIFIED;
    let chosen = chosen(default_route().ok(), &Machine::this().addresses(), unknown);
    Some(chosen).filter(|address| *address != unknown)
}

fn chosen(
    of_default_route: Option<Ipv4Addr>,
    addresses: &BTreeSet<IpAddr>,
    own: Ipv4Addr,
) -> Ipv4Addr {
    let first = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    of_default_route.or(first).unwrap_or(own)
}

/// The address with which this machine uses its default route.
fn default_route() -> Result<Ipv4Addr> {
    address_towards(ELSEWHERE).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::error::Kind;
    use crate::network::bridge;

    #[test]
    fn the_network_is_configured_as_soon_as_flannel_has_written_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subnet.env");
        let waiting = thread::spawn({
            let file = file.clone();
            move || pod_network(&file, None)
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        // flannel writes a file beside it and renames that, too.
        let new = dir.path().join("new");
        fs::write(&new, "FLANNEL_SUBNET=10.5.3.1/24\nFLANNEL_MTU=65470\n").unwrap();
        fs::rename(new, &file).unwrap();
        let (path, text) = waiting.join().unwrap().unwrap();
        assert!(path.starts_with(bridge::CONFIG_DIR), "{}", path.display());
        let network: serde_json::Value = serde_json::from_str(&text).unwrap();
        let plugin = &network["plugins"][0];
        assert_eq!(plugin["ipam"]["ranges"][0][0]["subnet"], "10.5.3.0/24");
        assert_eq!(
            (&plugin["mtu"], &plugin["ipMasq"]),
            (&65470.into(), &false.into())
        );
    }

    #[test]
    fn a_file_that_flannel_did_not_write_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subnet.env");
        fs::write(&file, "FLANNEL_SUBNET=10.5.3.1/24\n").unwrap();
        let error = pod_network(&file, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.message().contains("subnet.env: "), "{error}");
    }

    #[test]
    fn a_machine_without_a_default_route_has_an_address_as_well() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let own = address("10.0.42.100");
        let all = ["192.168.77.12", "fd00::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let all = BTreeSet::from(all);
        let routed = Some(address("192.168.77.13"));
        assert_eq!(chosen(routed, &all, own), address("192.168.77.13"));
        assert_eq!(chosen(None, &all, own), address("192.168.77.12"));
        assert_eq!(chosen(None, &BTreeSet::new(), own), own);
        // Only an own address can be bound.
        match outward_address(own) {
            address if address == own => {}
            address => drop(UdpSocket::bind((address, 0)).unwrap()),
        }
    }
}
