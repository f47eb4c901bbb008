//! `join`, `token create|list|delete`, `node list|remove`

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::install::{MachineSettings, show};
use super::output::{print, print_json, table};
use crate::cidr::Cidr;
use crate::cluster::Current;
use crate::config::{Cri, DnsName};
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
    /// Name of this machine in the cluster [default: derived from its host name]
    #[arg(long, value_name = "NAME")]
    name: Option<DnsName>,
    /// Container runtime: "containerd" or "crio"
    #[arg(long, value_name = "RUNTIME")]
    cri: Option<Cri>,
    /// Network between this machine and the cluster, for example 10.0.42.0/24
    #[arg(long, value_name = "NETWORK")]
    cidr: Option<Cidr>,
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
        let token = join::read_token(&self.token)?;
        let options = Options {
            name: self.name.clone(),
            machines: self.machines.flags(),
            cri: self.cri,
            cidr: self.cidr,
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
    pub(super) fn run(&self) -> Result<()> {
        let current = Current::read()?;
        match self {
            Self::Create {
                name,
                ttl,
                reusable,
            } => {
                let token = nodes::create(&current, name.as_ref(), *ttl, *reusable)?;
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
                let heads = [
                    "name", "role", "address", "pods", "kubelet", "runtime", "ready", "reached",
                ];
                let mut rows = vec![heads.map(str::to_owned).to_vec()];
                let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
                for node in nodes {
                    rows.push(vec![
                        node.name,
                        node.role.to_owned(),
                        node.address,
                        node.pods,
                        node.kubelet,
                        node.runtime,
                        yes(node.ready),
                        yes(node.reached),
                    ]);
                }
                print(&table(&rows, &[]))
            }
            Self::Remove { name, timeout } => nodes::remove(&current, name, *timeout, progress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
