//! `node remove`

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use super::members::{Etcdctl, Member, TWO, answering, quorum, remember_members, voters};
use super::{addresses, administrator, is_ready, object, refused};
use crate::api::{Client, apply};
use crate::child;
use crate::cluster::Current;
use crate::components::joining::{REMOVED, removal};
use crate::config::DnsName;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// How long a removed node is watched. The API server needs a moment to learn a new policy, and the kubelet of the node would
/// register it again.
const WATCH: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(1);

/// Removes a node: moves its pods to other nodes, for at most `patience`, deletes it, and refuses everything that its machine
/// writes from then on. With a new token it can join again.
pub fn remove(
    current: &Current,
    name: &DnsName,
    patience: Duration,
    progress: &Progress,
) -> Result<()> {
    let client = administrator(current)?;
    let several = current.config.machines.peer_address().is_some();
    if *name == current.config.node_name {
        let error = Error::new(
            Kind::Usage,
            format!("the node {name} is the control plane that this machine has"),
        );
        return Err(if several {
            error.hint("run this on another control plane")
        } else {
            error.hint("to remove the whole cluster, run `usernetes uninstall --purge`")
        });
    }
    let path = format!("/api/v1/nodes/{name}");
    let node = object(&client, &path)?;
    let member = if several {
        let address = node.as_ref().and_then(|node| addresses(node).next());
        removable(current, name, address)?
    } else {
        None
    };
    // A control plane that runs no pods is no node.
    if node.is_none() && member.is_none() {
        return Err(Error::new(Kind::Usage, format!("there is no node {name}"))
            .hint("`usernetes node list` shows them"));
    }
    if node.as_ref().is_some_and(is_ready) {
        let timeout = format!("--timeout={}s", patience.as_secs());
        let drain = ["kubectl", "drain", name.as_str(), &timeout, "--force"];
        let options = ["--ignore-daemonsets", "--delete-emptydir-data"];
        let mut drain = current.own_command(&drain);
        let ended = child::run(drain.args(options))?;
        if let Err(error) = ended.success() {
            progress.line(format!("not all pods could be moved in time: {error}"));
        }
    }
    // Its pods could not move any more without its API server, which needs its etcd.
    if let Some(member) = &member {
        Etcdctl::Inside(current).ask(&["member", "remove", &member.hex()])?;
        progress.line(format!("the etcd of node {name} is no member any more"));
    }
    if let Some(complaint) = apply(&client, &removal(name.as_str()))? {
        return Err(Error::new(
            Kind::Failed,
            format!("cannot keep the node's certificate out: {complaint}"),
        ));
    }
    let began = Instant::now();
    loop {
        let answer = client.delete(&path)?;
        if !matches!(answer.status, 200 | 202 | 404) {
            return Err(refused(answer.status, &answer.body));
        }
        if began.elapsed() > WATCH {
            break;
        }
        thread::sleep(INTERVAL);
    }
    if object(&client, &path)?.is_some() {
        return Err(
            Error::new(Kind::Failed, format!("the node {name} comes back"))
                .hint("stop the cluster on that machine, then run this again"),
        );
    }
    progress.line(format!(
        "node {name} is removed; on that machine, `usernetes uninstall --purge` removes what is left there"
    ));
    if member.is_some() {
        progress.line("that machine has the keys of the authorities until then, with which it can be anybody in this cluster");
        let members = Etcdctl::Inside(current).members()?;
        remember_members(&current.layout, &members)?;
        if members.len() == 2 {
            progress.line(TWO);
        }
    }
    Ok(())
}

/// Lets a node back in that was removed.
pub(crate) fn let_back(client: &Client, node: &str) -> Result<()> {
    for kind in [
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicies",
    ] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}/{REMOVED}{node}");
        let answer = client.delete(&path)?;
        if !matches!(answer.status, 200 | 202 | 404) {
            return Err(refused(answer.status, &answer.body));
        }
    }
    Ok(())
}

/// The member of etcd of this node; `None` if there is none. Fails if those that are left could not decide anything any more.
fn removable(current: &Current, node: &DnsName, address: Option<&str>) -> Result<Option<Member>> {
    let members = Etcdctl::Inside(current).members()?;
    let Some(member) = members.iter().find(|m| m.is_of(node, address)) else {
        return Ok(None);
    };
    let others = voters(members.iter().filter(|m| m.id != member.id));
    let answering = answering(&current.layout, &others)?;
    keeps_quorum(&others, &answering)?;
    Ok(Some(member.clone()))
}

/// Fails if fewer of these members answer than must agree.
fn keeps_quorum(members: &[Ipv4Addr], answering: &[Ipv4Addr]) -> Result<()> {
    let needed = quorum(members.len());
    if answering.len() >= needed {
        return Ok(());
    }
    let silent = members.iter().filter(|m| !answering.contains(m));
    let silent: Vec<_> = silent.map(ToString::to_string).collect();
    Err(Error::new(
        Kind::Failed,
        "without this control plane, etcd could decide nothing any more",
    )
    .expected(format!(
        "{needed} of the {} others to answer",
        members.len()
    ))
    .found(format!("no answer from {}", silent.join(", ")))
    .hint("start the machines that do not answer, or remove one of them first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_the_quorum_is_refused() {
        let [a, b] = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
        keeps_quorum(&[a], &[a]).unwrap();
        keeps_quorum(&[a, b], &[a, b]).unwrap();
        insta::assert_snapshot!(keeps_quorum(&[a, b], &[a]).unwrap_err(), @r"
        without this control plane, etcd could decide nothing any more
          expected  2 of the 2 others to answer
          found     no answer from 192.0.2.2

        hint: start the machines that do not answer, or remove one of them first
        ");
    }
}
