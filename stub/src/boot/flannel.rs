//! Runs flannel's daemon, and connects pods to the network that it gets for the node.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use fs_err as fs;

use super::apiserver::wait_pod_network;
use super::{Here, write_files};
use crate::components;
use crate::config::Config;
use crate::error::{Context, Error, Kind, Result};
use crate::files::remove_if_there;
use crate::layout::Layout;
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
    let start = components::start(Service::Flanneld, layout, config, &Here(layout))?;
    write_files(start.files)?;
    join(layout, Namespaces::Files)?;
    // The daemon exits if the node has no network yet, and the controller manager takes a while to assign one.
    wait_pod_network(layout, &layout.node("flannel"), config.node_name.as_str())?;
    let file = Path::new(flannel::SUBNET_FILE);
    remove_if_there(file)?;
    let mut daemon = command(layout, start.args);
    daemon.env("NODE_NAME", config.node_name.as_str());
    let outcome = Supervisor::new()?.run(daemon, |_| {
        thread::spawn(|| {
            if let Err(error) = connect_pods(file) {
                say(format!("cannot connect pods to the network: {error}"));
            }
        });
    })?;
    Ok(outcome.code)
}

fn connect_pods(file: &Path) -> Result<()> {
    write_files(vec![pod_network(file)?])
}

/// Waits until flannel's daemon has written its file, and returns the configuration of the network that the file describes.
fn pod_network(file: &Path) -> Result<ConfigFile> {
    while !file.exists() {
        thread::sleep(INTERVAL);
    }
    let bridge = flannel::bridge(&fs::read_to_string(file)?).about(|| file.display())?;
    say(format!(
        "the network of this node's pods is {}",
        bridge.subnet
    ));
    Ok(bridge.file())
}

/// The address at which other machines reach this one. It is read from a connected UDP socket, which sends nothing.
pub(super) fn outward_address() -> Result<Ipv4Addr> {
    // This address belongs to TEST-NET-1 of RFC 5737. No machine has it, so it is reached by the default route.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| {
            socket
                .connect((Ipv4Addr::new(192, 0, 2, 1), 9))
                .map(|()| socket)
        })
        .and_then(|socket| socket.local_addr());
    match socket
        .about(|| "cannot find the address of this machine")?
        .ip()
    {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(Error::new(Kind::Host, "this machine has no IPv4 address")
            .found(format!("`{address}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::bridge;

    #[test]
    fn the_network_is_configured_as_soon_as_flannel_has_written_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subnet.env");
        let waiting = thread::spawn({
            let file = file.clone();
            move || pod_network(&file)
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
        let error = pod_network(&file).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.message().contains("subnet.env: "), "{error}");
    }

    #[test]
    fn the_outward_address_is_one_of_this_machine() {
        match outward_address() {
            // Only an own address can be bound.
            Ok(address) => {
                assert!(!address.is_unspecified(), "{address}");
                UdpSocket::bind((address, 0)).unwrap();
            }
            // This machine has no default route.
            Err(error) => assert!(
                error
                    .message()
                    .starts_with("cannot find the address of this machine: "),
                "{error}"
            ),
        }
    }
}
