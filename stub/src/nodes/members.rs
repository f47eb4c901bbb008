//! The members of etcd in a cluster with several control planes.
//!
//! Each control plane has one. It listens on the loopback interface of its namespaces, as in a cluster of one machine; the
//! others reach it at the machine's address, from where the ports lead there. So no pod reaches it, and connections of others
//! come from 127.0.0.1, which is in every member's certificate: etcd compares that.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::child::{self, Ended};
use crate::cluster::{Current, etcdctl_identity};
use crate::components::etcd;
use crate::config::{Config, DnsName, ETCD_PEER_PORT};
use crate::error::{Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::files::replace;
use crate::layout::Layout;
use crate::process::{command, say};

/// How often a control plane looks which members there are.
const INTERVAL: Duration = Duration::from_secs(20);

/// How often they are asked while they do not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// How long etcd's client may take to connect, and to get an answer. A machine that is starting is busy.
const LIMITS: [&str; 2] = ["--dial-timeout=4s", "--command-timeout=10s"];

/// A member as etcd describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub(crate) id: u64,
    /// Its name; empty until it has started.
    pub(crate) name: String,
    /// The address at which the others reach it.
    pub(crate) address: Option<Ipv4Addr>,
    /// Whether it has no vote yet.
    pub(crate) learner: bool,
}

impl Member {
    /// Its number as etcdctl takes it.
    pub(crate) fn hex(&self) -> String {
        format!("{:x}", self.id)
    }

    /// Whether it is that of a node, which has this address. The member of the machine that has founded the cluster has a name
    /// without that of its node.
    pub(crate) fn is_of(&self, node: &DnsName, address: Option<&str>) -> bool {
        let at = self
            .address
            .is_some_and(|own| address == Some(&*own.to_string()));
        at || self.name == etcd::member_name(node)
    }
}

/// Reads the answer of `etcdctl member list --write-out=json`.
fn parse(text: &str) -> Result<Vec<Member>> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let members = answer["members"].as_array().ok_or_else(|| {
        Error::new(Kind::Failed, "etcd does not say which members it has")
            .found(text.lines().next().unwrap_or("nothing"))
    })?;
    let member = |member: &Value| {
        let peer = member["peerURLs"][0].as_str().unwrap_or_default();
        let host = peer
            .strip_prefix("https://")
            .and_then(|url| url.split(':').next());
        Some(Member {
            id: member["ID"].as_u64()?,
            name: member["name"].as_str().unwrap_or_default().to_owned(),
            address: host.and_then(|host| host.parse().ok()),
            learner: member["isLearner"] == true,
        })
    };
    Ok(members.iter().filter_map(member).collect())
}

/// etcd's client, outside the namespaces or inside.
pub(crate) enum Etcdctl<'a> {
    /// For a process outside: this machine's own member, from inside.
    Inside(&'a Current),
    /// For members that this process reaches at addresses.
    Direct(&'a Layout, Vec<Ipv4Addr>),
}

impl Etcdctl<'_> {
    /// Runs it to its end.
    fn run(&self, words: &[&str]) -> Result<Ended> {
        match self {
            Self::Inside(current) => {
                let words = [&["etcdctl"], &LIMITS[..], words].concat();
                child::run(&mut current.own_command(&words))
            }
            Self::Direct(layout, addresses) => {
                let endpoints: Vec<_> = addresses.iter().map(|a| etcd::client_url(*a)).collect();
                let program = layout.program("etcdctl").display().to_string();
                let mut args = vec![program];
                args.extend(LIMITS.iter().chain(words).map(|&word| word.to_owned()));
                let mut command = command(layout, args);
                command
                    .envs(etcdctl_identity(layout))
                    .env("ETCDCTL_ENDPOINTS", endpoints.join(","));
                child::run(&mut command)
            }
        }
    }

    /// Runs it, and gives what it says. Fails if it fails.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String> {
        self.run(words)?.success()
    }

    /// The members. Needs a quorum.
    pub(crate) fn members(&self) -> Result<Vec<Member>> {
        parse(&self.ask(&["member", "list", "--write-out=json"])?)
    }

    /// The members, as soon as they answer. Their machines may be busy, or etcd was started just now.
    pub(crate) fn members_within(&self, patience: Duration) -> Result<Vec<Member>> {
        let began = Instant::now();
        loop {
            match self.members() {
                Err(_) if began.elapsed() < patience => thread::sleep(AGAIN),
                result => return result,
            }
        }
    }

    /// Changes where the others reach a member.
    pub(crate) fn set_address(&self, member: &Member, address: Ipv4Addr) -> Result<()> {
        let urls = format!("--peer-urls={}", etcd::peer_url(address));
        self.ask(&["member", "update", &member.hex(), &urls])
            .map(drop)
    }
}

/// Those of these members that answer, quorum or not. Each has a few seconds.
pub(crate) fn answering(layout: &Layout, members: &[Ipv4Addr]) -> Result<Vec<Ipv4Addr>> {
    let etcdctl = Etcdctl::Direct(layout, members.to_vec());
    // It fails if one does not answer, and still says what the others have answered.
    let ended = etcdctl.run(&["endpoint", "status", "--write-out=json"])?;
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let answer = answer.as_array().cloned().unwrap_or_default();
    let has = |address: &&Ipv4Addr| {
        let url = etcd::client_url(**address);
        answer.iter().any(|status| status["Endpoint"] == *url)
    };
    Ok(members.iter().filter(has).copied().collect())
}

/// How many members of so many must agree.
#[must_use]
pub(crate) fn quorum(members: usize) -> usize {
    members / 2 + 1
}

/// What two control planes are told.
pub const TWO: &str = "two members tolerate no failure; add a third";

/// The member of this machine, if it has joined the members of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnMember {
    /// How it starts for the first time.
    #[serde(flatten)]
    pub(crate) start: etcd::Joining,
    /// Whether it has a vote. Until then, its machine is no control plane.
    pub(crate) promoted: bool,
}

fn own_file(layout: &Layout) -> PathBuf {
    layout.data("etcd-member.json")
}

/// The member of this machine; `None` if it has founded the cluster.
pub(crate) fn own_member(layout: &Layout) -> Result<Option<OwnMember>> {
    let file = own_file(layout);
    let Some(text) = read_if_there(&file)? else {
        return Ok(None);
    };
    let member = serde_json::from_str(&text);
    member.map(Some).map_err(|error| {
        Error::new(Kind::Input, format!("{}: {error}", file.display()))
            .expected("what `usernetes join --control-plane` has written")
            .hint("restore it from a copy; or remove this node on another control plane, and let it join again")
    })
}

impl OwnMember {
    /// Writes it. Afterwards it is on disk.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(std::io::Error::from)?;
        replace(&own_file(layout), &text, 0o600)
    }
}

/// Forgets the members of others: from now on, etcd's data here is for a member that is alone.
pub(crate) fn forget_members(layout: &Layout) -> Result<()> {
    crate::files::remove_if_there(&own_file(layout))?;
    crate::files::remove_if_there(&known_file(layout))
}

fn known_file(layout: &Layout) -> PathBuf {
    layout.data("etcd-members.json")
}

/// The addresses of all members with a vote, as this machine has learned of them last: without a quorum, etcd does not say it.
#[must_use]
pub(crate) fn known_members(layout: &Layout, config: &Config) -> Vec<Ipv4Addr> {
    let text = read_if_there(&known_file(layout)).ok().flatten();
    let known: Option<Vec<Ipv4Addr>> = text.and_then(|text| serde_json::from_str(&text).ok());
    let mut known = known.unwrap_or_default();
    if let Some(own) = config.machines.address
        && !known.contains(&own)
    {
        known.push(own);
    }
    known
}

/// The addresses of the members with a vote.
pub(crate) fn voters<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<Ipv4Addr> {
    let voting = members.into_iter().filter(|member| !member.learner);
    voting.filter_map(|member| member.address).collect()
}

/// Keeps the addresses of all members with a vote. Afterwards they are on disk.
pub(crate) fn remember_members(layout: &Layout, members: &[Member]) -> Result<()> {
    let mut addresses = voters(members);
    addresses.sort();
    let text = serde_json::to_string(&addresses).map_err(std::io::Error::from)?;
    if read_if_there(&known_file(layout))?.as_deref() == Some(text.as_str()) {
        return Ok(());
    }
    replace(&known_file(layout), text.as_bytes(), 0o600)
}

/// Keeps account of the members, and tells the others when this machine's address changes, in a thread. The process must be in
/// the network namespace. Does nothing on a cluster with one control plane.
pub(crate) fn follow_members(layout: &Layout, config: &Config) {
    let Some(own) = config.machines.peer_address() else {
        return;
    };
    let layout = layout.clone();
    thread::spawn(move || {
        let mut fault = String::new();
        loop {
            let now = follow(&layout, own).err();
            let now = now.map_or_else(String::new, |error| error.message().to_owned());
            if now != fault && !now.is_empty() {
                say(format!("cannot look for members of etcd: {now}"));
            }
            fault = now;
            thread::sleep(INTERVAL);
        }
    });
}

fn follow(layout: &Layout, own: Ipv4Addr) -> Result<()> {
    let etcdctl = Etcdctl::Direct(layout, vec![Ipv4Addr::LOCALHOST]);
    let members = etcdctl.members()?;
    remember_members(layout, &members)?;
    let name = own_member(layout)?.map_or_else(|| etcd::FOUNDER.to_owned(), |m| m.start.name);
    let mine = members.iter().find(|member| member.name == name);
    if let Some(member) = mine.filter(|member| member.address != Some(own)) {
        etcdctl.set_address(member, own)?;
        say(format!(
            "the other members of etcd reach this one at {own}:{ETCD_PEER_PORT} now"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_members_are_read() {
        let text = r#"{"header":{"cluster_id":1},"members":[
            {"ID":10276657743932975437,"name":"u7s","peerURLs":["https://192.0.2.1:2380"],"clientURLs":["https://192.0.2.1:2379"]},
            {"ID":7,"name":"","peerURLs":["https://192.0.2.2:2380"],"isLearner":true}]}"#;
        let members = parse(text).unwrap();
        assert_eq!(members[0].hex(), "8e9e05c52164694d");
        assert_eq!(members[0].address, Some([192, 0, 2, 1].into()));
        let learner = Member {
            id: 7,
            name: String::new(),
            address: Some([192, 0, 2, 2].into()),
            learner: true,
        };
        assert_eq!(members[1], learner);
        let node = "b".parse().unwrap();
        assert!(members[1].is_of(&node, Some("192.0.2.2")));
        assert!(!members[1].is_of(&node, None));
        let named = Member {
            name: "u7s-b".to_owned(),
            ..learner
        };
        assert!(named.is_of(&node, None));
        assert!(!named.is_of(&"c".parse().unwrap(), Some("192.0.2.3")));
        assert!(parse("").is_err());
    }

    #[test]
    fn members_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let layout = Layout::new(at("c"), at("d"), at("r"), at("g")).unwrap();
        fs_err::create_dir_all(layout.data_dir()).unwrap();
        let mut config = Config::new("a".parse().unwrap(), crate::config::Cni::Flannel);
        config.machines.address = Some([192, 0, 2, 1].into());
        assert_eq!(
            known_members(&layout, &config),
            [Ipv4Addr::new(192, 0, 2, 1)]
        );
        let member = |last: u8, learner| Member {
            id: last.into(),
            name: String::new(),
            address: Some([192, 0, 2, last].into()),
            learner,
        };
        let members = [member(2, false), member(1, false), member(3, true)];
        remember_members(&layout, &members).unwrap();
        let known = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
        assert_eq!(known_members(&layout, &config), known);

        assert_eq!(own_member(&layout).unwrap(), None);
        let own = OwnMember {
            start: etcd::Joining {
                name: "u7s-b".to_owned(),
                initial_cluster: "u7s=https://192.0.2.1:2380".to_owned(),
            },
            promoted: false,
        };
        own.write(&layout).unwrap();
        assert_eq!(own_member(&layout).unwrap(), Some(own));
        forget_members(&layout).unwrap();
        assert_eq!(own_member(&layout).unwrap(), None);
    }

    #[test]
    fn a_majority_must_agree() {
        assert_eq!([1, 2, 3, 4, 5].map(quorum), [1, 2, 2, 3, 3]);
    }
}
