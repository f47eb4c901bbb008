//! Whether packets pass between this machine's pods and those of other nodes, both ways.
//!
//! Every node with flannel has the first address of its pods' network, such as 10.5.1.0, on its VXLAN device. The kernel there
//! answers whoever connects to it: with a connection if the kubelet listens, or with a refusal. Either answer has come back
//! over VXLAN, so no pod is needed to prove it.

use std::io::ErrorKind;
use std::net::{SocketAddrV4, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{addresses, all_nodes, is_ready, items, kubelet_port, text};
use crate::api::Client;
use crate::child::{self, Ended};
use crate::cidr::Cidr;
use crate::cluster::Current;
use crate::config::{Cni, Config, Cri};
use crate::error::{Error, Kind, Result};
use crate::process::namespaces;
use crate::protocol;
use crate::services::Namespaces;

/// How long an answer may take. A lost packet is sent again after one second, and after three.
const PATIENCE: Duration = Duration::from_secs(4);

/// The address at which a node answers over VXLAN; `None` if it has no network for pods yet.
pub(super) fn over_vxlan(node: &Value) -> Option<SocketAddrV4> {
    let network: Cidr = text(node, "/spec/podCIDR").parse().ok()?;
    Some(SocketAddrV4::new(network.address(), kubelet_port(node)?))
}

/// Another node, as far as the pod network goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Its address for other machines.
    pub(crate) address: String,
    /// Where it answers over VXLAN.
    pub(crate) over_vxlan: SocketAddrV4,
}

/// Whether the pod network connects this machine's pods with those of other machines.
pub(super) fn are_connected(config: &Config) -> bool {
    config.cni == Cni::Flannel && config.cri != Cri::None
}

/// The other nodes that are ready. None on a network that connects the pods of one machine only.
pub(crate) fn peers(client: &Client, config: &Config) -> Result<Vec<Peer>> {
    if !are_connected(config) {
        return Ok(Vec::new());
    }
    let list = all_nodes(client)?;
    let peer = |node: &Value| {
        Some(Peer {
            name: text(node, "/metadata/name").to_owned(),
            address: addresses(node).next()?.to_owned(),
            over_vxlan: over_vxlan(node)?,
        })
    };
    let ready = items(&list).filter(|node| is_ready(node));
    let peers = ready.filter_map(peer);
    Ok(peers
        .filter(|peer| peer.name != config.node_name.as_str())
        .collect())
}

/// Those of these nodes from which nothing comes back.
pub(crate) fn silent(current: &Current, peers: &[Peer]) -> Result<Vec<Peer>> {
    let targets: Vec<_> = peers.iter().map(|peer| peer.over_vxlan).collect();
    let answers = answer(current, &targets)?;
    let silent = peers.iter().zip(answers).filter(|(_, answers)| !answers);
    Ok(silent.map(|(peer, _)| peer.clone()).collect())
}

/// Whether each of these addresses answers in the namespaces of this machine, in the same order. The cluster must run here.
pub(super) fn answer(current: &Current, peers: &[SocketAddrV4]) -> Result<Vec<bool>> {
    if peers.is_empty() {
        return Ok(Vec::new());
    }
    // This process cannot leave the namespaces again, so another one enters them.
    let mut command = current.own_command(&[protocol::PROBE_PEERS]);
    command.args(peers.iter().map(ToString::to_string));
    let said = child::run(&mut command).and_then(Ended::success)?;
    let answers: Option<Vec<bool>> = serde_json::from_str(&said).ok();
    let whole = answers.filter(|answers| answers.len() == peers.len());
    whole.ok_or_else(|| Error::new(Kind::Failed, "the probe of the pod network has no result"))
}

/// The other half of [`answer`]: enters the namespaces and asks.
pub fn probe_peers(peers: &[SocketAddrV4]) -> Result<Vec<bool>> {
    let current = Current::read()?;
    namespaces::join(&current.layout, Namespaces::Network)?;
    Ok(ask(peers))
}

/// Asks all of them at once.
fn ask(peers: &[SocketAddrV4]) -> Vec<bool> {
    thread::scope(|scope| {
        let asking: Vec<_> = peers
            .iter()
            .map(|peer| scope.spawn(|| answers(*peer)))
            .collect();
        let answers = asking.into_iter().map(thread::ScopedJoinHandle::join);
        answers.map(Result::unwrap_or_default).collect()
    })
}

fn answers(peer: SocketAddrV4) -> bool {
    match TcpStream::connect_timeout(&peer.into(), PATIENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_answers_at_the_first_address_of_its_pods() {
        let mut node = json!({
            "spec": { "podCIDR": "10.5.3.0/24" },
            "status": { "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } } },
        });
        assert_eq!(over_vxlan(&node), "10.5.3.0:10250".parse().ok());
        node["spec"] = json!({});
        assert_eq!(over_vxlan(&node), None);
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(open) = listener.local_addr().unwrap() else {
            unreachable!()
        };
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(refused) = closed.local_addr().unwrap() else {
            unreachable!()
        };
        drop(closed);
        // The kernel has no route from the loopback device to broadcast addresses.
        let nowhere = SocketAddrV4::new(Ipv4Addr::BROADCAST, 9);
        assert_eq!(ask(&[open, nowhere, refused]), [true, false, true]);
    }
}
