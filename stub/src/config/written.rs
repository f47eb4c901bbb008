//! Reading the file, whether a person, this release or another release wrote it.

use serde::Deserialize;

use super::{Cni, Config, Cri, DnsName, Network, PortSpec, SCHEMA, Target};
use crate::cidr::Cidr;
use crate::error::{Error, Kind, Result};

/// The file as it was written. A key that is missing has its default, so that a release may add keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    // Checked before the rest is read.
    #[serde(rename = "schema")]
    _schema: Option<u32>,
    cri: Option<Cri>,
    cni: Option<Cni>,
    node_name: Option<DnsName>,
    cluster_domain: Option<DnsName>,
    publish: Option<Vec<PortSpec>>,
    start: Option<Target>,
    network: WrittenNetwork,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenNetwork {
    rootlesskit: Option<Cidr>,
    services: Option<Cidr>,
    pods: Option<Cidr>,
}

/// The keys of the file, and those of its table `network`.
const KEYS: [&str; 8] = [
    "schema",
    "cri",
    "cni",
    "node_name",
    "cluster_domain",
    "publish",
    "start",
    NETWORK,
];
const NETWORK: &str = "network";
const NETWORK_KEYS: [&str; 3] = ["rootlesskit", "services", "pods"];

impl Written {
    fn complete(self) -> Config {
        let node_name = self.node_name.unwrap_or_else(|| {
            let uname = rustix::system::uname();
            DnsName::derive(&uname.nodename().to_string_lossy())
        });
        // Some defaults depend on the pod network.
        let default = Config::new(node_name, self.cni.unwrap_or(Cni::Bridge));
        let network = self.network;
        Config {
            cri: self.cri.unwrap_or(default.cri),
            cluster_domain: self.cluster_domain.unwrap_or(default.cluster_domain),
            publish: self.publish.unwrap_or(default.publish),
            start: self.start.unwrap_or(default.start),
            network: Network {
                rootlesskit: network.rootlesskit.unwrap_or(default.network.rootlesskit),
                services: network.services.unwrap_or(default.network.services),
                pods: network.pods.unwrap_or(default.network.pods),
            },
            ..default
        }
    }
}

fn bad(error: &toml::de::Error) -> Error {
    let error = error.to_string();
    Error::new(
        Kind::Input,
        format!("bad configuration\n{}", error.trim_end()),
    )
}

impl Config {
    /// Reads and checks the text of the file. A key that is missing has its default. An unknown key is an error that
    /// names it and lists the known ones, because whoever wrote it meant something by it.
    pub fn parse(text: &str) -> Result<Self> {
        /// Read first, so that another schema is not reported as many unknown keys.
        #[derive(Deserialize)]
        struct Head {
            #[serde(default = "first_schema")]
            schema: u32,
        }
        let head: Head = toml::from_str(text).map_err(|e| bad(&e))?;
        if head.schema != SCHEMA {
            return Err(Error::new(Kind::Input, "unknown configuration schema")
                .expected(format!("`schema = {SCHEMA}`"))
                .found(format!("`schema = {}`", head.schema))
                .hint("use the version of Usernetes that wrote it"));
        }
        let written: Written = toml::from_str(text).map_err(|e| bad(&e))?;
        let config = written.complete();
        config.check()?;
        Ok(config)
    }

    /// Reads and checks a text that a release of Usernetes wrote, this one or another. Keys that only a later release knows
    /// are left out: this release does not have the features that they control.
    pub fn parse_of_any_release(text: &str) -> Result<Self> {
        let mut table: toml::Table = text.parse().map_err(|e| bad(&e))?;
        table.retain(|key, _| KEYS.contains(&key));
        if let Some(toml::Value::Table(network)) = table.get_mut(NETWORK) {
            network.retain(|key, _| NETWORK_KEYS.contains(&key));
        }
        Self::parse(&table.to_string())
    }
}

/// A file without a schema has the first one.
fn first_schema() -> u32 {
    1
}
