//! The configuration of a cluster: `~/.config/usernetes/config.toml`, written by `install` from its flags, read by
//! every other command.

mod backup;
mod choice;
mod dns;
mod machines;
mod port;
mod resources;
mod services;
mod setting;
#[cfg(test)]
mod tests;
mod text;
mod written;

use std::net::Ipv4Addr;
use std::path::Path;

pub use backup::{BackupDir, Backups, Schedule};
pub use choice::{Addon, Cni, CniFacts, Cri, NetworkDriver, Role, Target};
pub use dns::DnsName;
pub(crate) use dns::host_name_fault;
pub use machines::{ETCD_PEER_PORT, ETCD_PORT, Machines};
pub use port::{API_PORT, PortSpec, Proto};
pub use resources::{Cpus, Memory, Resources};
pub use services::PublishServices;
pub use setting::{Change, Setting};

use crate::cidr::Cidr;
use crate::error::{Context, Error, Kind, Result};
use crate::text::decode;

/// The schema this program writes and reads.
pub const SCHEMA: u32 = 1;

/// The settings of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The container runtime.
    pub cri: Cri,
    /// How pods are connected.
    pub cni: Cni,
    /// The name of this machine in the cluster.
    pub node_name: DnsName,
    /// The domain of service names.
    pub cluster_domain: DnsName,
    /// Ports of the host that lead into the cluster.
    pub publish: Vec<PortSpec>,
    /// Where services that ask for a port of the node are published by themselves.
    pub publish_services: PublishServices,
    /// The addons that the cluster does without.
    pub without: Vec<Addon>,
    /// The target that starts at login.
    pub start: Target,
    /// Addresses.
    pub network: Network,
    /// How much of the machine the cluster may use.
    pub resources: Resources,
    /// This machine among the machines of the cluster.
    pub machines: Machines,
    /// When backups are made by themselves.
    pub backup: Backups,
}

/// The networks of a cluster, none of which may overlap another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Between the host and the namespaces.
    pub rootlesskit: Cidr,
    /// Of services.
    pub services: Cidr,
    /// Of pods.
    pub pods: Cidr,
    /// Which address of the network of services the cluster's name server has: 10 is `10.0.0.10` in `10.0.0.0/24`.
    pub dns: u32,
    /// The program that connects the namespaces with this machine's network.
    pub driver: NetworkDriver,
    /// The size, in bytes, of the largest packet between the host and the namespaces.
    pub mtu: u32,
}

/// The number of the name server's address in a new cluster. The API server gives services that do not ask for an address
/// one of the first 16 only when no other is free (Kubernetes documentation, "Service `ClusterIP` allocation").
const DNS: u32 = 10;
/// The number that it always had in earlier releases. Nothing may change it for an existing cluster, because every pod has the
/// address in its `resolv.conf`.
const EARLIER_DNS: u32 = 53;
/// The largest packet that slirp4netns and pasta take from the namespaces. It need not fit the network outside: they pass the data
/// of connections to sockets of the host, and the host's kernel cuts large packets of UDP.
const LARGEST_MTU: u32 = 65520;

impl Config {
    /// The configuration that `install` writes without flags.
    #[must_use]
    pub fn new(node_name: DnsName, cni: Cni) -> Self {
        Self {
            schema: SCHEMA,
            cri: Cri::Containerd,
            cni,
            node_name,
            cluster_domain: default("cluster.local"),
            publish: vec![PortSpec::API],
            publish_services: PublishServices(None),
            without: Vec::new(),
            start: Target::All,
            network: Network {
                rootlesskit: default("10.0.42.0/24"),
                services: default("10.0.0.0/24"),
                pods: default(cni.facts().pods),
                dns: DNS,
                driver: NetworkDriver::Slirp4netns,
                mtu: LARGEST_MTU,
            },
            resources: Resources::default(),
            machines: Machines::default(),
            backup: Backups::default(),
        }
    }

    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = match fs_err::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(
                    Error::new(Kind::Input, format!("{}: no such file", path.display()))
                        .expected("the configuration that `install` writes")
                        .hint("run `usernetes install` first"),
                );
            }
            bytes => bytes?,
        };
        let config = decode(bytes).and_then(|text| Self::parse(&text));
        config.about(|| path.display()).hint(|| {
            "correct the file, or move it away and run `usernetes install` again, which writes a new one".to_owned()
        })
    }

    /// Checks that the settings fit together. An error names the keys of the file.
    pub fn check(&self) -> Result<()> {
        self.check_as(Kind::Input, |setting| format!("`{setting}`"))
            .map_err(|error| error.about("bad configuration"))
    }

    /// Checks that the settings fit together. An error has this kind and calls each setting what
    /// `name` gives.
    pub fn check_as(&self, kind: Kind, name: impl Fn(Setting) -> String) -> Result<()> {
        self.check_networks(kind, &name)?;
        self.check_machines(kind, &name)?;
        for (index, port) in self.publish.iter().enumerate() {
            if let Some(other) = self.publish[..index]
                .iter()
                .find(|other| port.collides_with(other))
            {
                return Err(Error::new(
                    kind,
                    format!(
                        "{} has the same port of the host twice",
                        name(Setting::Publish)
                    ),
                )
                .found(format!("`{other}` and `{port}`"))
                .hint("remove one of them"));
            }
        }
        if self.cri == Cri::None && self.start == Target::Node {
            return Err(Error::new(
                kind,
                format!(
                    "{} needs a node, but {} says that there is none",
                    name(Setting::Start),
                    name(Setting::Cri)
                ),
            )
            .expected("`cri = \"containerd\"` or `cri = \"crio\"`")
            .found("`cri = \"\"`")
            .hint("start `u7s-master-with-etcd.target`, or choose a container runtime"));
        }
        self.check_numbers(kind, &name)
    }

    fn check_numbers(&self, kind: Kind, name: &impl Fn(Setting) -> String) -> Result<()> {
        let Network {
            services, dns, mtu, ..
        } = self.network;
        // The first address is the API server's, and the last is not used.
        let addresses = 2..=(u32::MAX >> services.prefix()) - 1;
        let Resources {
            cpu_weight,
            pod_pids,
            ..
        } = self.resources;
        for (setting, value, range) in [
            (Setting::Dns, dns, addresses),
            // Packets between machines pass the namespaces' device whole.
            (Setting::NetworkMtu, mtu, self.machines.mtu..=LARGEST_MTU),
            (Setting::CpuWeight, cpu_weight, Resources::WEIGHTS),
            (Setting::PodPids, pod_pids, Resources::POD_PIDS),
            (Setting::BackupKeep, self.backup.keep, Backups::KEEP),
        ] {
            if !range.contains(&value) {
                let message = format!("{} is out of range", name(setting));
                return Err(Error::new(kind, message)
                    .expected(format!(
                        "a number from {} to {}",
                        range.start(),
                        range.end()
                    ))
                    .found(format!("`{value}`")));
            }
        }
        Ok(())
    }

    fn check_networks(&self, kind: Kind, name: &impl Fn(Setting) -> String) -> Result<()> {
        let Network {
            rootlesskit,
            services,
            pods,
            ..
        } = self.network;
        // slirp4netns needs at least /25 (its DHCP range and the tap device's address); the API server takes a service network of at most
        // 2^20 addresses, and CoreDNS's address was always the 53rd.
        let sizes = [
            (name(Setting::Rootlesskit), rootlesskit, 8..=25),
            (name(Setting::Services), services, 12..=26),
            (name(Setting::Pods), pods, self.cni.facts().prefixes),
        ];
        for (name, cidr, range) in &sizes {
            if !range.contains(&cidr.prefix()) {
                let size = if cidr.prefix() < *range.start() {
                    "large"
                } else {
                    "small"
                };
                return Err(Error::new(kind, format!("{name} is too {size}"))
                    .expected(format!(
                        "a prefix length from {} to {}",
                        range.start(),
                        range.end()
                    ))
                    .found(format!("`{cidr}`"))
                    .hint(format!(
                        "for example `{}/{}`",
                        cidr.address(),
                        range.end().min(&24)
                    )));
            }
        }
        for (index, (name, cidr, _)) in sizes.iter().enumerate() {
            for (other_name, other, _) in &sizes[..index] {
                if cidr.overlaps(*other) {
                    return Err(Error::new(kind, format!("{name} overlaps {other_name}"))
                        .expected("networks without a common address")
                        .found(format!("`{cidr}` and `{other}`"))
                        .hint(format!("choose another network for {name}")));
                }
            }
        }
        Ok(())
    }

    /// Whether the cluster has an addon, if the bundle brings its image.
    #[must_use]
    pub fn has(&self, addon: Addon) -> bool {
        !self.without.contains(&addon)
    }

    /// Whether pods run here: not without a container runtime, and not if only the control plane or etcd is started.
    #[must_use]
    pub fn runs_pods(&self) -> bool {
        let node = match self.start {
            Target::All | Target::Node | Target::Nothing => true,
            Target::MasterWithEtcd | Target::Master | Target::Etcd => false,
        };
        node && self.cri != Cri::None
    }

    /// The published port at which this machine reaches its API server: it leads there from 127.0.0.1. `None` if there is
    /// none. The cluster cannot start without it; all other ports are published as soon as they are free.
    #[must_use]
    pub fn api_port(&self) -> Option<&PortSpec> {
        let here = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(std::net::IpAddr::V4);
        let local = |port: &&PortSpec| here.contains(&port.ip);
        self.publish.iter().filter(local).find(|p| self.is_api(p))
    }

    /// Whether a port leads to the API server, which listens on every address of the namespace.
    #[must_use]
    pub fn is_api(&self, port: &PortSpec) -> bool {
        let here = |ip: Ipv4Addr| ip.is_loopback() || ip == self.node_ip() || ip == self.address();
        !self.machines.is_worker()
            && port.child_port == self.machines.api_port
            && port.proto == Proto::Tcp
            && port.child_ip.is_none_or(here)
    }

    /// Address of the host as the namespaces see it.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        nth(self.network.rootlesskit, 2)
    }

    /// Address of the name server that forwards queries to the host's.
    #[must_use]
    pub fn host_dns(&self) -> Ipv4Addr {
        nth(self.network.rootlesskit, 3)
    }

    /// Address of this machine in the cluster: that of the device `tap0`.
    #[must_use]
    pub fn node_ip(&self) -> Ipv4Addr {
        nth(self.network.rootlesskit, 100)
    }

    /// Address of the service `kubernetes`, the API server's.
    #[must_use]
    pub fn api_service_ip(&self) -> Ipv4Addr {
        nth(self.network.services, 1)
    }

    /// Address of the cluster's name server, CoreDNS.
    #[must_use]
    pub fn cluster_dns(&self) -> Ipv4Addr {
        nth(self.network.services, self.network.dns)
    }
}

/// The n-th address of a network that [`Config::check`] has found large enough.
fn nth(network: Cidr, n: u32) -> Ipv4Addr {
    network.nth(n).unwrap_or(network.address())
}

/// A constant of this file.
#[expect(clippy::expect_used, reason = "a test parses every one of them")]
fn default<T: std::str::FromStr<Err = Error>>(text: &str) -> T {
    text.parse().expect("a valid constant")
}
