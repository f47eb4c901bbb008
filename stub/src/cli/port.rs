//! `port publish|unpublish|list`

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Current;
use crate::config::{PortSpec, PublishServices};
use crate::error::Result;
use crate::lifecycle;
use crate::ports::Entry;
use crate::progress::Progress;

#[derive(Debug, Subcommand)]
pub(super) enum Port {
    /// Publish a port now, and keep it published
    Publish {
        /// The port, for example 0.0.0.0:30080:30080/tcp
        #[arg(
            value_name = "IP:PORT:CHILDPORT/PROTO",
            required_unless_present = "auto"
        )]
        port: Option<PortSpec>,
        /// Publish `NodePort` and `LoadBalancer` services and the host ports of pods by themselves, on this address of this
        /// machine [default: 0.0.0.0, which is all]
        #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "0.0.0.0", conflicts_with = "port")]
        auto: Option<PublishServices>,
    },
    /// Stop publishing a port
    Unpublish {
        /// The port, as `port list` shows it
        #[arg(
            value_name = "IP:PORT:CHILDPORT/PROTO",
            required_unless_present = "auto"
        )]
        port: Option<PortSpec>,
        /// Stop publishing services and the host ports of pods by themselves
        #[arg(long, conflicts_with = "port")]
        auto: bool,
    },
    /// List the ports to publish, one per line, and whether they are published
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Port {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List { .. })
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::List { json } => list(*json),
            Self::Publish { port, auto } => {
                if let Some(address) = auto {
                    lifecycle::publish_services(*address, progress)?;
                }
                port.iter()
                    .try_for_each(|port| lifecycle::publish(port, progress))
            }
            Self::Unpublish { port, auto } => {
                if *auto {
                    lifecycle::publish_services(PublishServices(None), progress)?;
                }
                port.iter().try_for_each(lifecycle::unpublish)
            }
        }
    }
}

/// Prints the ports of the configuration and those that the running cluster looks after, each with its state.
fn list(json: bool) -> Result<()> {
    let current = Current::read()?;
    let ports = lifecycle::ports(&current);
    if json {
        return print_json(&json!({ "ports": ports }));
    }
    let row = |entry: &Entry| {
        let state = match (entry.open, entry.why.as_str()) {
            (true, _) => "published".to_owned(),
            (false, "") => String::new(),
            (false, why) => format!("waiting: {why}"),
        };
        let row = [entry.port.clone(), entry.owner.clone(), state];
        // Without a running cluster there is nothing to say about them.
        let last = row.iter().rposition(|text| !text.is_empty()).unwrap_or(0);
        row[..=last].to_vec()
    };
    let lines: Vec<_> = ports.iter().map(row).collect();
    print(&table(&lines, &[]))
}
