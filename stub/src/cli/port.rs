//! `port publish|unpublish|list`

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Current;
use crate::config::PortSpec;
use crate::error::Result;
use crate::lifecycle;
use crate::ports::Entry;
use crate::progress::Progress;

#[derive(Debug, Subcommand)]
pub(super) enum Port {
    /// Publish a port now, and keep it published
    Publish {
        /// The port, for example 0.0.0.0:30080:30080/tcp
        #[arg(value_name = "IP:PORT:CHILDPORT/PROTO")]
        port: PortSpec,
    },
    /// Stop publishing a port
    Unpublish {
        /// The port, as `port list` shows it
        #[arg(value_name = "IP:PORT:CHILDPORT/PROTO")]
        port: PortSpec,
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
            Self::Publish { port } => lifecycle::publish(port, progress),
            Self::Unpublish { port } => lifecycle::unpublish(port),
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
