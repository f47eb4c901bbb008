//! The API servers that a worker knows.

use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use super::Current;
use crate::api::Client;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::files::replace;
use crate::layout::{Kubeconfig, Layout};

/// The file, in the data directory, with the API servers that the worker has learned of.
const FILE: &str = "api-endpoints.json";
/// How long an API server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(4);

/// The API servers: those that this worker has learned of last, or else those of its configuration.
#[must_use]
pub(crate) fn endpoints(layout: &Layout, config: &Config) -> Vec<SocketAddrV4> {
    let text = read_if_there(&layout.data(FILE)).ok().flatten();
    let mut learned: Vec<SocketAddrV4> = text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    // The file may be of an earlier cluster, so those of the configuration are tried as well.
    for endpoint in &config.machines.endpoints {
        if !learned.contains(endpoint) {
            learned.push(*endpoint);
        }
    }
    learned
}

/// Keeps the API servers that this worker has learned of. Afterwards the list is on disk.
pub(crate) fn remember_endpoints(layout: &Layout, endpoints: &[SocketAddrV4]) -> Result<()> {
    let text = serde_json::to_vec(endpoints).map_err(std::io::Error::from)?;
    replace(&layout.data(FILE), &text, 0o600)
}

impl Current {
    /// A client that may read nodes and change the one of this machine: the administrator's, or the node's own on a worker.
    pub(crate) fn own_api(&self) -> Result<Client> {
        match self.api()? {
            Some(client) => Ok(client),
            None => self.node_api(),
        }
    }

    /// The node's own client of the first API server that answers, for a worker.
    pub(crate) fn node_api(&self) -> Result<Client> {
        node_api(&self.layout, &self.config)
    }
}

/// A worker's client of the first API server that answers, with the identity of its node.
pub(crate) fn node_api(layout: &Layout, config: &Config) -> Result<Client> {
    let all = endpoints(layout, config);
    let answers = |endpoint: &&SocketAddrV4| {
        TcpStream::connect_timeout(&(**endpoint).into(), PATIENCE).is_ok()
    };
    let Some(endpoint) = all.iter().find(answers) else {
        let list: Vec<_> = all.iter().map(ToString::to_string).collect();
        return Err(
            Error::new(
                Kind::Network,
                format!("no API server of this cluster answers at {}", list.join(" or ")),
            )
            .hint("`usernetes status` on the machine with the control plane shows whether it runs; if it has another address now, run `usernetes join --endpoint ADDRESS:PORT` here"),
        );
    };
    Client::new((*endpoint).into(), layout, Kubeconfig::Kubelet)
}
