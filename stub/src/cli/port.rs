//! `port publish|unpublish|list`

use clap::Subcommand;

use super::output::{print, table};
use crate::cluster::Current;
use crate::config::PortSpec;
use crate::error::Result;
use crate::lifecycle;
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
    /// List the published ports, one per line
    List,
}

impl Port {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List)
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::List => list(),
            Self::Publish { port } => lifecycle::publish(port, progress),
            Self::Unpublish { port } => lifecycle::unpublish(port),
        }
    }
}

fn list() -> Result<()> {
    let current = Current::read()?;
    let ports = current.config.publish.iter();
    let lines: Vec<_> = ports.map(|p| vec![p.to_string()]).collect();
    print(&table(&lines, &[]))
}
