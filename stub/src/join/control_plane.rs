//! `join --control-plane`: this machine becomes another control plane.
//!
//! Its etcd joins as a learner, which has no vote, and gets one as soon as it has all data. If the join fails before that, the
//! learner is removed again, and with it the authorities that the machine has got.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::api::Client;
use crate::cluster::Current;
use crate::components::etcd::{self, Joining};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{remove_if_there, remove_tree};
use crate::install::{Prepared, Report};
use crate::layout::{Kubeconfig, Layout, MASTER, NODE};
use crate::lifecycle;
use crate::nodes::{
    Authorities, Etcdctl, Member, OwnMember, TWO, forget_members, known_members, let_back,
    remember_members,
};
use crate::process::say;
use crate::progress::Progress;

/// How long the new member may take to get all data.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long etcd may take to answer at first.
const REACH: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_secs(2);

/// Starts this machine as another control plane beside those with these authorities. `server` is one of them.
pub(super) fn join(
    authorities: &Authorities,
    server: Ipv4Addr,
    prepared: Prepared<'_>,
    progress: &Progress,
) -> Result<Report> {
    let layout = prepared.layout()?;
    authorities.write(&layout)?;
    let mut member = None;
    let started = prepared.carry_out_after(progress, |current| {
        // A worker is let back in when its certificate is approved. This machine makes its own.
        let port = current.config.machines.api_port.get();
        let client = Client::new((server, port).into(), &current.layout, Kubeconfig::Admin)?;
        let_back(&client, current.config.node_name.as_str())?;
        member = Some(Newcomer::add(current, server)?);
        Ok(())
    });
    let promoted = member.as_ref().is_some_and(Newcomer::has_vote);
    match started {
        Ok(report) => {
            if let Some(member) = member {
                member.wait()?;
            }
            Ok(report)
        }
        // From its vote on, it is a control plane like the others.
        Err(error) if promoted => Err(error),
        Err(error) => {
            let undone = undo(&layout, server, member, progress);
            Err(match undone {
                Ok(()) => error.detail(
                    "undone",
                    "this machine has nothing of the cluster; it can join again with the same token",
                ),
                Err(more) => error.detail("and then", more),
            })
        }
    }
}

/// The member that this machine becomes.
struct Newcomer {
    id: String,
    stop: Arc<AtomicBool>,
    promoted: Arc<AtomicBool>,
    promotion: JoinHandle<()>,
}

impl Newcomer {
    /// Adds this machine's etcd, which does not run yet, to the members as a learner, and begins to wait in a thread until it can
    /// have a vote. How it has to start is on disk afterwards.
    fn add(current: &Current, server: Ipv4Addr) -> Result<Self> {
        let layout = &current.layout;
        let etcdctl = Etcdctl::Direct(layout, vec![server]);
        let own = current.config.address();
        let members = etcdctl
            .members_within(REACH)
            .map_err(|error| unreachable(server, &error))?;
        remove_rest_of(&etcdctl, &members, own)?;
        // What is left of an attempt before.
        remove_tree(&layout.etcd_data())?;
        let name = etcd::member_name(&current.config.node_name);
        let urls = format!("--peer-urls={}", etcd::peer_url(own));
        etcdctl
            .ask(&["member", "add", &name, "--learner", &urls])
            .map_err(explained)?;
        let members = etcdctl.members()?;
        let Some(member) = members.iter().find(|member| member.address == Some(own)) else {
            return Err(Error::new(
                Kind::Failed,
                "etcd has forgotten the new member",
            ));
        };
        let start = Joining {
            initial_cluster: initial_cluster(&members, own, &name),
            name,
        };
        let member_of_this = OwnMember {
            start,
            promoted: false,
        };
        member_of_this.write(layout)?;
        let (id, stop, promoted) = (member.hex(), Arc::default(), Arc::default());
        let promotion = thread::spawn({
            let (layout, id) = (layout.clone(), id.clone());
            let (stop, promoted) = (Arc::clone(&stop), Arc::clone(&promoted));
            move || promote(&layout, server, &id, member_of_this, &stop, &promoted)
        });
        Ok(Self {
            id,
            stop,
            promoted,
            promotion,
        })
    }

    fn has_vote(&self) -> bool {
        self.promoted.load(Ordering::Acquire)
    }

    /// Waits until it has a vote.
    fn wait(self) -> Result<()> {
        let _ = self.promotion.join();
        if self.promoted.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(Kind::Failed, "this machine's etcd has no vote")
            .hint("see `usernetes logs etcd`"))
    }
}

/// Gives the new member its vote as soon as etcd lets it have one.
fn promote(
    layout: &Layout,
    server: Ipv4Addr,
    id: &str,
    member: OwnMember,
    stop: &AtomicBool,
    promoted: &AtomicBool,
) {
    let etcdctl = Etcdctl::Direct(layout, vec![server]);
    let (began, mut last) = (Instant::now(), String::new());
    while !stop.load(Ordering::Acquire) && began.elapsed() < PATIENCE {
        match etcdctl.ask(&["member", "promote", id]) {
            Ok(_) => {
                promoted.store(true, Ordering::Release);
                let member = OwnMember {
                    promoted: true,
                    ..member
                };
                let written = member.write(layout);
                let members = etcdctl.members();
                let noted = members.and_then(|members| remember_members(layout, &members));
                if let Err(error) = written.and(noted) {
                    say(format!("cannot keep account of etcd's members: {error}"));
                }
                return;
            }
            Err(error) => last = error.to_string(),
        }
        thread::sleep(INTERVAL);
    }
    if !last.is_empty() {
        say(format!("this machine's etcd has no vote yet: {last}"));
    }
}

fn unreachable(server: Ipv4Addr, error: &Error) -> Error {
    Error::new(
        Kind::Network,
        format!("the etcd of the control plane at {server} does not answer"),
    )
    .expected("an answer from port 2379/tcp")
    .found(error.message())
    .hint("a firewall must let 2379/tcp and 2380/tcp through between the control planes; `usernetes status` on that machine shows its members")
}

/// Removes what an attempt before has left among the members.
fn remove_rest_of(etcdctl: &Etcdctl<'_>, members: &[Member], own: Ipv4Addr) -> Result<()> {
    let Some(member) = members.iter().find(|member| member.address == Some(own)) else {
        return Ok(());
    };
    if !member.learner && !member.name.is_empty() {
        return Err(Error::new(
            Kind::Failed,
            format!("etcd has a member at {own} already, with the name {:?}", member.name),
        )
        .hint("if this machine was a control plane before, remove its node on another one with `usernetes node remove NAME`"));
    }
    etcdctl.ask(&["member", "remove", &member.hex()]).map(drop)
}

/// The members, with which the new one finds the others when it starts. Those that have not started have no name yet.
fn initial_cluster(members: &[Member], own: Ipv4Addr, name: &str) -> String {
    let member = |member: &Member| {
        let address = member.address?;
        let name = if address == own { name } else { &member.name };
        Some(format!("{name}={}", etcd::peer_url(address)))
    };
    let all: Vec<_> = members.iter().filter_map(member).collect();
    all.join(",")
}

/// An error of `member add` in our words.
fn explained(error: Error) -> Error {
    let text = error.to_string();
    if text.contains("too many learner members") {
        return Error::new(Kind::Busy, "another control plane is joining at the moment")
            .hint("control planes join one at a time: wait until it is done, then run the same command again; `usernetes status` on the first machine shows the members");
    }
    if text.contains("not enough started members") || text.contains("unhealthy cluster") {
        return Error::new(Kind::Failed, "not all members of etcd answer, so none can be added")
            .hint("`usernetes status` on the first machine shows which one does not; start it, or remove its node");
    }
    error
}

/// Takes everything back: the member, etcd's data, the authorities and the configuration.
fn undo(
    layout: &Layout,
    server: Ipv4Addr,
    member: Option<Newcomer>,
    progress: &Progress,
) -> Result<()> {
    if let Ok(current) = Current::read()
        && current.is_running()
    {
        lifecycle::stop_all(&current, progress)?;
    }
    if let Some(member) = member {
        member.stop.store(true, Ordering::Release);
        let _ = member.promotion.join();
        Etcdctl::Direct(layout, vec![server])
            .ask(&["member", "remove", &member.id])
            .about(|| "etcd keeps the new member")?;
    }
    forget(layout)?;
    remove_tree(&layout.etcd_data())?;
    remove_if_there(&layout.config_file())
}

/// Removes the account of members and all certificates and keys: this machine is no control plane.
pub(super) fn forget(layout: &Layout) -> Result<()> {
    forget_members(layout)?;
    for dir in [MASTER, NODE] {
        remove_tree(&layout.config().join(dir))?;
    }
    Ok(())
}

/// What the user must know if there are two control planes now.
pub(super) fn warn(current: &Current, progress: &Progress) {
    let known = known_members(&current.layout, &current.config);
    if known.len() == 2 {
        progress.line(TWO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_member_finds_the_others() {
        let member = |last: u8, name: &str| Member {
            id: last.into(),
            name: name.to_owned(),
            address: Some([192, 0, 2, last].into()),
            learner: name.is_empty(),
        };
        let members = [member(1, "u7s"), member(2, "u7s-b"), member(3, "")];
        let text = initial_cluster(&members, [192, 0, 2, 3].into(), "u7s-c");
        assert_eq!(
            text,
            "u7s=https://192.0.2.1:2380,u7s-b=https://192.0.2.2:2380,u7s-c=https://192.0.2.3:2380"
        );
    }

    #[test]
    fn etcds_refusals_are_explained() {
        let said = |text: &str| explained(Error::new(Kind::Failed, text));
        let busy = said("Error: etcdserver: too many learner members in cluster");
        assert_eq!(
            busy.message(),
            "another control plane is joining at the moment"
        );
        let ill =
            said("Error: etcdserver: re-configuration failed due to not enough started members");
        assert_eq!(
            ill.message(),
            "not all members of etcd answer, so none can be added"
        );
        assert_eq!(said("other").message(), "other");
    }
}
