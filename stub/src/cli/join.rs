//! `join`, `token create|list|delete`, `node list|remove`

use std::net::SocketAddrV4;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::install::{MachineSettings, show};
use super::output::{print, print_json, table};
use crate::cidr::Cidr;
use crate::cluster::Current;
use crate::config::{Cri, DnsName, NetworkDriver};
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::join::{self, Options};
use crate::nodes;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct Join {
    /// File with the token; "-" reads it from standard input
    #[arg(value_name = "FILE", default_value = "-")]
    token: PathBuf,
    /// Follow the control plane of this worker to this address, without a token and without a restart; repeat it for several
    /// API servers
    #[arg(long, value_name = "ADDRESS:PORT", exclusive = true)]
    endpoint: Vec<SocketAddrV4>,
    /// Become another control plane, with a token that was made for that
    #[arg(long)]
    control_plane: bool,
    /// Name of this machine in the cluster [default: derived from its host name]
    #[arg(long, value_name = "NAME")]
    name: Option<DnsName>,
    /// Container runtime: "containerd" or "crio"
    #[arg(long, value_name = "RUNTIME")]
    cri: Option<Cri>,
    /// Network between this machine and the cluster, for example 10.0.42.0/24
    #[arg(long, value_name = "NETWORK")]
    cidr: Option<Cidr>,
    /// Program that connects the cluster with this machine's network: "slirp4netns", or "pasta", which is tried first
    #[arg(long, value_name = "PROGRAM")]
    network_driver: Option<NetworkDriver>,
    #[command(flatten)]
    machines: MachineSettings,
    /// Go on even if the checks find this machine unfit
    #[arg(long)]
    force: bool,
    /// Give up if a step of the start takes longer than this [default: 600]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<NonZeroU64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Join {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        if !self.endpoint.is_empty() {
            return join::follow(&self.endpoint, progress);
        }
        let token = join::read_token(&self.token)?;
        let options = Options {
            name: self.name.clone(),
            machines: self.machines.flags(),
            cri: self.cri,
            cidr: self.cidr,
            network_driver: self.network_driver,
            control_plane: self.control_plane,
            force: self.force,
            timeout: self
                .timeout
                .map(|seconds| Duration::from_secs(seconds.get())),
        };
        let report = join::join(&token, &options, &Machine::this(), progress)?;
        show(&report, self.json, progress)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Print a new token, with which another machine can join this cluster; it is a secret
    Create {
        /// The only node that may use it [default: any]
        name: Option<DnsName>,
        /// How long it is valid, for example 30m, 1h or 2d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
        ttl: Duration,
        /// Let several machines use it
        #[arg(long, conflicts_with = "name")]
        reusable: bool,
        /// Let the machine become another control plane: it gets the authorities of this cluster, and 1h is the longest time
        #[arg(long, conflicts_with = "reusable")]
        control_plane: bool,
    },
    /// List the tokens that have not expired, without their secret parts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a token; machines that have joined with it stay
    Delete {
        /// Its id, as `token list` shows it
        id: String,
    },
}

/// A time such as `90s`, `30m`, `1h` or `2d`.
fn duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::new(Kind::Usage, format!("bad time `{text}`"))
            .expected("a number with `s`, `m`, `h` or `d`, for example `1h`")
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number = text[..text.len() - 1].parse::<u64>().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    // Times of more than a hundred years are mistakes.
    if !(1..=100 * 366 * 24 * 60 * 60).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

impl Token {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        match self {
            Self::Create {
                name,
                ttl,
                reusable,
                control_plane,
            } => {
                let purpose = nodes::Purpose {
                    node: name.clone(),
                    ttl: *ttl,
                    reusable: *reusable,
                    control_plane: *control_plane,
                };
                let token = nodes::create(&current, &purpose, progress)?;
                print(&format!("{token}\n"))
            }
            Self::List { json: true } => print_json(&json!({ "tokens": nodes::tokens(&current)? })),
            Self::List { json: false } => {
                let heads = ["id", "for", "uses", "used by", "expires"].map(str::to_owned);
                let mut rows = vec![heads.to_vec()];
                for token in nodes::tokens(&current)? {
                    let uses = if token.reusable { "many" } else { "one" };
                    let node = Some(token.node).filter(|node| !node.is_empty());
                    rows.push(vec![
                        token.id,
                        node.unwrap_or_else(|| "any node".to_owned()),
                        uses.to_owned(),
                        token.used_by,
                        token.expires,
                    ]);
                }
                print(&table(&rows, &[]))
            }
            Self::Delete { id } => nodes::delete(&current, id),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List the machines of the cluster, and whether the API server reaches them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a machine from the cluster; its pods move to others, and it needs a new token to come back
    Remove {
        /// Name of the node
        name: DnsName,
        /// How long its pods may take to move
        #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
        timeout: Duration,
    },
}

impl Node {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        match self {
            Self::List { json } => {
                let nodes = nodes::list(&current)?;
                if *json {
                    return print_json(&json!({ "nodes": nodes }));
                }
                print(&node_table(nodes))
            }
            Self::Remove { name, timeout } => nodes::remove(&current, name, *timeout, progress),
        }
    }
}

/// The nodes for people.
fn node_table(nodes: Vec<nodes::Node>) -> String {
    let heads = [
        "name",
        "role",
        "address",
        "release",
        "kubelet",
        "ready",
        "API→kubelet",
        "VXLAN",
        "certificates",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for node in nodes {
        let days = node.certificate_days.map(|days| match days {
            1 => "1 day".to_owned(),
            0.. => format!("{days} days"),
            ..0 => "expired".to_owned(),
        });
        rows.push(vec![
            node.name,
            node.role,
            node.address,
            node.release,
            node.kubelet,
            yes(node.ready),
            yes(node.reached),
            node.vxlan.map(yes).unwrap_or_default(),
            days.unwrap_or_default(),
        ]);
    }
    table(&rows, &[])
}

/// `probe-peers`
pub(super) fn probe_peers(addresses: &[SocketAddrV4]) -> Result<()> {
    print_json(&json!(nodes::probe_peers(addresses)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_a_table() {
        let node = |name: &str, vxlan, days| nodes::Node {
            name: name.to_owned(),
            role: "worker".to_owned(),
            address: "192.0.2.2".to_owned(),
            release: "0.2.0".to_owned(),
            kubelet: "v1.36.2".to_owned(),
            runtime: "cri-o://1.36.3".to_owned(),
            pods: "10.5.1.0/24".to_owned(),
            ready: true,
            reached: false,
            vxlan,
            certificate_days: days,
        };
        let nodes = vec![
            node("a", None, Some(1)),
            node("b", Some(true), Some(-1)),
            node("c", Some(false), None),
        ];
        insta::assert_snapshot!(node_table(nodes), @r"
        name  role    address    release  kubelet  ready  API→kubelet  VXLAN  certificates
        a     worker  192.0.2.2  0.2.0    v1.36.2  yes    no                  1 day
        b     worker  192.0.2.2  0.2.0    v1.36.2  yes    no           yes    expired
        c     worker  192.0.2.2  0.2.0    v1.36.2  yes    no           no
        ");
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("2d").unwrap(), Duration::from_hours(48));
        for bad in [
            "",
            "h",
            "1",
            "0m",
            "-1h",
            "1w",
            "1é",
            "99999999999999999999d",
            "9999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
