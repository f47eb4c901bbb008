//! Reading the file, whether a person, this release or another release wrote it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use serde::Deserialize;

use super::{
    Addon, BackupDir, Backups, Cni, Config, Cpus, Cri, DnsName, EARLIER_DNS, Machines, Memory,
    Network, NetworkDriver, PortSpec, PublishServices, Resources, Role, SCHEMA, Schedule, Target,
};
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
    publish_services: Option<PublishServices>,
    without: Option<Vec<Addon>>,
    start: Option<Target>,
    network: WrittenNetwork,
    resources: WrittenResources,
    backup: WrittenBackups,
    machines: WrittenMachines,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenNetwork {
    rootlesskit: Option<Cidr>,
    services: Option<Cidr>,
    pods: Option<Cidr>,
    dns: Option<u32>,
    driver: Option<NetworkDriver>,
    mtu: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenResources {
    memory: Option<Memory>,
    cpus: Option<Cpus>,
    cpu_weight: Option<u32>,
    pod_pids: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenMachines {
    role: Option<Role>,
    address: Option<Address>,
    endpoints: Option<Vec<SocketAddrV4>>,
    mtu: Option<u32>,
    api_port: Option<NonZeroU16>,
    kubelet_port: Option<NonZeroU16>,
    vxlan_port: Option<NonZeroU16>,
    several_control_planes: Option<bool>,
}

/// An address, or an empty text for none.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address(Option<Ipv4Addr>);

impl TryFrom<String> for Address {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| {
            Error::new(Kind::Input, format!("bad address `{text}`"))
                .expected("an IPv4 address of this machine, or \"\"")
        })?;
        Ok(Self(Some(address)))
    }
}

impl WrittenMachines {
    fn complete(self) -> Machines {
        let default = Machines::default();
        Machines {
            role: self.role.unwrap_or(default.role),
            address: self.address.and_then(|address| address.0),
            endpoints: self.endpoints.unwrap_or_default(),
            mtu: self.mtu.unwrap_or(default.mtu),
            api_port: self.api_port.unwrap_or(default.api_port),
            kubelet_port: self.kubelet_port.unwrap_or(default.kubelet_port),
            vxlan_port: self.vxlan_port.unwrap_or(default.vxlan_port),
            several_control_planes: self
                .several_control_planes
                .unwrap_or(default.several_control_planes),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenBackups {
    schedule: Option<Schedule>,
    keep: Option<u32>,
    dir: Option<BackupDir>,
}

/// The keys of the file, and those of its tables.
const KEYS: [&str; 13] = [
    "schema",
    "cri",
    "cni",
    "node_name",
    "cluster_domain",
    "publish",
    "publish_services",
    "without",
    "start",
    "network",
    "resources",
    "backup",
    "machines",
];
const TABLES: [(&str, &[&str]); 4] = [
    (
        "network",
        &["rootlesskit", "services", "pods", "dns", "driver", "mtu"],
    ),
    ("resources", &["memory", "cpus", "cpu_weight", "pod_pids"]),
    ("backup", &["schedule", "keep", "dir"]),
    (
        "machines",
        &[
            "role",
            "address",
            "endpoints",
            "mtu",
            "api_port",
            "kubelet_port",
            "vxlan_port",
            "several_control_planes",
        ],
    ),
];

impl Written {
    fn complete(self) -> Config {
        let node_name = self.node_name.unwrap_or_else(|| {
            let uname = rustix::system::uname();
            DnsName::derive(&uname.nodename().to_string_lossy())
        });
        // Some defaults depend on the pod network.
        let default = Config::new(node_name, self.cni.unwrap_or(Cni::Bridge));
        let (network, resources, backup) = (self.network, self.resources, self.backup);
        Config {
            cri: self.cri.unwrap_or(default.cri),
            cluster_domain: self.cluster_domain.unwrap_or(default.cluster_domain),
            publish: self.publish.unwrap_or(default.publish),
            publish_services: self.publish_services.unwrap_or(default.publish_services),
            without: self.without.unwrap_or(default.without),
            start: self.start.unwrap_or(default.start),
            network: Network {
                rootlesskit: network.rootlesskit.unwrap_or(default.network.rootlesskit),
                services: network.services.unwrap_or(default.network.services),
                pods: network.pods.unwrap_or(default.network.pods),
                // An earlier release wrote the file, and its cluster may have data.
                dns: network.dns.unwrap_or(EARLIER_DNS),
                driver: network.driver.unwrap_or(default.network.driver),
                mtu: network.mtu.unwrap_or(default.network.mtu),
            },
            resources: Resources {
                memory: resources.memory.unwrap_or(default.resources.memory),
                cpus: resources.cpus.unwrap_or(default.resources.cpus),
                cpu_weight: resources.cpu_weight.unwrap_or(default.resources.cpu_weight),
                pod_pids: resources.pod_pids.unwrap_or(default.resources.pod_pids),
            },
            backup: Backups {
                schedule: backup.schedule.unwrap_or(default.backup.schedule),
                keep: backup.keep.unwrap_or(default.backup.keep),
                dir: backup.dir.unwrap_or(default.backup.dir),
            },
            machines: self.machines.complete(),
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
        for (name, keys) in TABLES {
            if let Some(toml::Value::Table(inner)) = table.get_mut(name) {
                inner.retain(|key, _| keys.contains(&key));
            }
        }
        Self::parse(&table.to_string())
    }
}

/// A file without a schema has the first one.
fn first_schema() -> u32 {
    1
}
