//! The last step of `join`: the cluster and this machine really reach each other. A firewall may let the way to the API server
//! through and nothing else, and then everything seems well until somebody looks at the logs of a pod here.

use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Current;
use crate::error::{Error, Kind, Result};
use crate::nodes::{self, Peer};
use crate::progress::Progress;

/// How long packets over VXLAN may take at first: flannel on the other machines must learn of this one.
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(1);

/// Fails if the control plane does not reach this machine's kubelet, or if no packet passes between its pods and those of the
/// other nodes. The machine has joined in any case.
pub(super) fn prove(current: &Current, progress: &Progress) -> Result<()> {
    let machines = &current.config.machines;
    let client = current.own_api()?;
    let wait = progress.wait("ways between the machines");
    if let Err(reason) = nodes::reached(&client, current.config.node_name.as_str())? {
        return Err(no_kubelet(machines.kubelet_port.get(), &reason));
    }
    let peers = nodes::peers(&client, &current.config)?;
    let began = Instant::now();
    let silent = loop {
        let silent = nodes::silent(current, &peers)?;
        if silent.is_empty() || began.elapsed() > PATIENCE {
            break silent;
        }
        wait.say(&format!("nothing from {} yet", names(&silent)));
        thread::sleep(INTERVAL);
    };
    if !peers.is_empty() && silent.len() == peers.len() {
        return Err(no_packets(machines.vxlan_port.get(), &silent));
    }
    wait.finish("open");
    if !silent.is_empty() {
        progress.line(format!(
            "pods here do not reach those of {} at the moment; `usernetes node list` on the machine with the control plane shows all ways",
            names(&silent)
        ));
    }
    Ok(())
}

fn names(peers: &[Peer]) -> String {
    let names: Vec<_> = peers
        .iter()
        .map(|peer| format!("{} ({})", peer.name, peer.address))
        .collect();
    names.join(", ")
}

/// What both errors end with.
const JOINED: &str = "this machine has joined, and needs no new token; on the machine with the control plane, `usernetes node list` shows when the way is open";

fn no_kubelet(port: u16, reason: &str) -> Error {
    Error::new(
        Kind::Network,
        "the control plane does not reach this machine's kubelet",
    )
    .expected(format!("an answer from port {port}/tcp"))
    .found(reason)
    .hint(format!(
        "let {port}/tcp through to this machine in its firewall: `kubectl logs` and `kubectl exec` need it; {JOINED}"
    ))
}

fn no_packets(port: u16, silent: &[Peer]) -> Error {
    Error::new(Kind::Network, format!("nothing came back over {port}/udp"))
        .expected("an answer from another node over the pod network")
        .found(format!("none from {}", names(silent)))
        .hint(format!(
            "let {port}/udp through between the machines in the firewalls of both, in both directions: pods here reach no pods elsewhere without it; {JOINED}"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_way_is_named_with_the_next_step() {
        insta::assert_snapshot!(no_kubelet(10250, "https://192.0.2.2:10250/healthz: no route"), @r"
        the control plane does not reach this machine's kubelet
          expected  an answer from port 10250/tcp
          found     https://192.0.2.2:10250/healthz: no route

        hint: let 10250/tcp through to this machine in its firewall: `kubectl logs` and `kubectl exec` need it; this machine has joined, and needs no new token; on the machine with the control plane, `usernetes node list` shows when the way is open
        ");
        let peer = Peer {
            name: "a".to_owned(),
            address: "192.0.2.1".to_owned(),
            over_vxlan: "10.5.0.0:10250".parse().unwrap(),
        };
        insta::assert_snapshot!(no_packets(8472, &[peer]), @r"
        nothing came back over 8472/udp
          expected  an answer from another node over the pod network
          found     none from a (192.0.2.1)

        hint: let 8472/udp through between the machines in the firewalls of both, in both directions: pods here reach no pods elsewhere without it; this machine has joined, and needs no new token; on the machine with the control plane, `usernetes node list` shows when the way is open
        ");
    }
}
