//! The settings of an installation: those of the existing configuration, changed by the command line's.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bundle::Manifest;
use crate::cidr::Cidr;
use crate::cluster::{RECEIPT, Receipt, is_local_api};
use crate::config::{
    Addon, Change, Cni, Config, Cpus, Cri, DnsName, Memory, NetworkDriver, PortSpec, Proto,
    PublishServices, Setting, Target,
};
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::lifecycle::missing;
use crate::services::{Service, Services, UnitName, all_unit_names};
use crate::signature::Verdict;

/// The command line. Settings that it does not name stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--cri`
    pub cri: Option<Cri>,
    /// `--cni`
    pub cni: Option<Cni>,
    /// `--node-name`
    pub node_name: Option<DnsName>,
    /// `--cidr`: the network between the host and the cluster.
    pub cidr: Option<Cidr>,
    /// `--services`: the network of services.
    pub services: Option<Cidr>,
    /// `--pods`: the network of pods.
    pub pods: Option<Cidr>,
    /// `--memory`: how much memory the cluster may use.
    pub memory: Option<Memory>,
    /// `--cpus`: how much processor time the cluster may use.
    pub cpus: Option<Cpus>,
    /// `--network-driver`: the program that connects the namespaces with this machine's network.
    pub network_driver: Option<NetworkDriver>,
    /// `--address`, `--mtu` and the ports at which other machines reach this one.
    pub machines: MachineFlags,
    /// `--pki`: the directory with the certificates and the configuration that `pki init` has made for this machine.
    pub pki: Option<PathBuf>,
    /// For `join`: the configuration that the cluster has told, in place of the default one.
    pub joined: Option<Config>,
    /// `--publish`: all ports to publish, besides the API server's.
    pub publish: Option<Vec<PortSpec>>,
    /// `--publish-services`
    pub publish_services: Option<PublishServices>,
    /// `--without`
    pub without: Option<Vec<Addon>>,
    /// `--start`
    pub start: Option<Start>,
    /// `--repair`: read and compare every installed byte.
    pub repair: bool,
    /// `--force`: go on although the machine is unfit, or the release is older, skips a version or does not work.
    pub force: bool,
    /// `--timeout`: how long each step of the start may take; `None` for the usual time.
    pub timeout: Option<Duration>,
    /// `--origin`: the known origin of the bundle; `None` to look for a signature beside it.
    pub origin: Option<Verdict>,
    /// For `run`: no service manager is asked, and no units are made.
    pub supervised: bool,
    /// `--generation`: the existing generation to make current; `None` for the one of this program.
    pub generation: Option<u64>,
}

/// The flags about this machine among others.
#[derive(Debug, Clone, Default)]
pub struct MachineFlags {
    /// `--address`: the address at which other machines reach this one; an inner `None` for a cluster of one machine.
    pub address: Option<Option<Ipv4Addr>>,
    /// `--mtu`
    pub mtu: Option<u32>,
    /// `--api-port`
    pub api_port: Option<NonZeroU16>,
    /// `--kubelet-port`
    pub kubelet_port: Option<NonZeroU16>,
    /// `--vxlan-port`
    pub vxlan_port: Option<NonZeroU16>,
}

impl MachineFlags {
    /// Changes a configuration. Published ports that led to the API server lead to its new port.
    pub(crate) fn apply(&self, config: &mut Config) {
        let machines = &mut config.machines;
        machines.address = self.address.unwrap_or(machines.address);
        machines.mtu = self.mtu.unwrap_or(machines.mtu);
        machines.kubelet_port = self.kubelet_port.unwrap_or(machines.kubelet_port);
        machines.vxlan_port = self.vxlan_port.unwrap_or(machines.vxlan_port);
        let old = machines.api_port;
        machines.api_port = self.api_port.unwrap_or(old);
        let new = machines.api_port;
        for port in config.publish.iter_mut().filter(|_| new != old) {
            if port.child_port == old && port.proto == Proto::Tcp {
                port.child_port = new;
                if port.port == old {
                    port.port = new;
                }
            }
        }
    }

    fn flag(&self, setting: Setting) -> Option<&'static str> {
        match setting {
            Setting::Address => self.address.map(|_| "--address"),
            Setting::Mtu => self.mtu.map(|_| "--mtu"),
            Setting::ApiPort => self.api_port.map(|_| "--api-port"),
            Setting::KubeletPort => self.kubelet_port.map(|_| "--kubelet-port"),
            Setting::VxlanPort => self.vxlan_port.map(|_| "--vxlan-port"),
            _ => None,
        }
    }
}

impl Flags {
    /// The name of a setting for the user: the flag that sets it, or else its key in `config.toml`.
    fn name(&self, setting: Setting) -> String {
        let flag = match setting {
            Setting::Cri if self.cri.is_some() => "--cri",
            Setting::NodeName if self.node_name.is_some() => "--node-name",
            Setting::Pods if self.pods.is_some() => "--pods",
            Setting::Rootlesskit if self.cidr.is_some() => "--cidr",
            Setting::Services if self.services.is_some() => "--services",
            Setting::Publish if self.publish.is_some() => "--publish",
            Setting::Start if self.start.is_some() => "--start",
            setting => self.machines.flag(setting).unwrap_or(setting.key()),
        };
        format!("`{flag}`")
    }
}

/// The unit to start at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A target, which also starts at every login, or nothing.
    Target(Target),
    /// One service, only this once.
    Service(UnitName),
}

impl std::str::FromStr for Start {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(target) = text.parse() {
            return Ok(Self::Target(target));
        }
        let names = all_unit_names();
        if let Some(name) = names.get(text) {
            return Ok(Self::Service(name.clone()));
        }
        let names: Vec<_> = names.iter().map(UnitName::as_str).collect();
        Err(Error::new(Kind::Usage, format!("unknown unit {text:?}"))
            .expected(format!("\"\" for nothing, or one of {}", names.join(", "))))
    }
}

impl Start {
    /// The unit's name; empty for nothing.
    #[must_use]
    pub fn unit(&self) -> &str {
        match self {
            Self::Target(target) => target.as_str(),
            Self::Service(name) => name.as_str(),
        }
    }
}

/// A checked configuration, and the effect of the flags.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The settings for `config.toml`.
    pub config: Config,
    /// The unit to start now.
    pub start: Start,
    /// The settings that the command line or the user's editor changed.
    pub changes: Vec<Change>,
}

/// Merges the flags into the existing configuration, or into the default one for this bundle and this machine. `last` is the
/// configuration of the last installation, which the running cluster has.
pub(super) fn merge(
    flags: &Flags,
    existing: Option<Config>,
    last: Option<&Config>,
    manifest: &Manifest,
    machine: &Machine,
    has_data: bool,
) -> Result<Settings> {
    let mut config = existing.unwrap_or_else(|| fresh(manifest, machine));
    if let Some(joined) = &flags.joined {
        config.clone_from(joined);
    }
    if let Some(name) = &flags.node_name {
        config.node_name.clone_from(name);
    }
    if let Some(cri) = flags.cri {
        config.cri = cri;
    }
    if let Some(cni) = flags.cni.filter(|cni| *cni != config.cni) {
        let default = |cni| Config::new(config.node_name.clone(), cni).network.pods;
        // A network that the user chose stays.
        if config.network.pods == default(config.cni) {
            config.network.pods = default(cni);
        }
        config.cni = cni;
    }
    let network = &mut config.network;
    for (flag, setting) in [
        (flags.cidr, &mut network.rootlesskit),
        (flags.services, &mut network.services),
        (flags.pods, &mut network.pods),
    ] {
        *setting = flag.unwrap_or(*setting);
    }
    network.driver = flags.network_driver.unwrap_or(network.driver);
    let resources = &mut config.resources;
    resources.memory = flags.memory.unwrap_or(resources.memory);
    resources.cpus = flags.cpus.unwrap_or(resources.cpus);
    flags.machines.apply(&mut config);
    if let Some(publish) = &flags.publish {
        config.publish = with_api(publish, &config);
    }
    if let Some(without) = &flags.without {
        config.without.clone_from(without);
    }
    config.publish_services = flags.publish_services.unwrap_or(config.publish_services);
    let start = match &flags.start {
        Some(Start::Target(target)) => {
            config.start = *target;
            Start::Target(*target)
        }
        Some(service) => service.clone(),
        None => Start::Target(config.start),
    };
    // The settings of the file were checked when it was read.
    config.check_as(Kind::Usage, |setting| flags.name(setting))?;
    let changes = last.map_or_else(Vec::new, |last| Change::between(last, &config));
    if has_data {
        refuse_changes_that_break_data(&changes)?;
        if let Some(last) = last {
            refuse_other_pods_of_nodes(last, &config)?;
        }
    }
    Ok(Settings {
        config,
        start,
        changes,
    })
}

/// The configuration of the last installation, which the data was made with; `None` if there was none. An unreadable one
/// counts as none only if there is no data that could have been made with it.
pub(super) fn last(
    receipt: Option<&Receipt>,
    data_dir: &Path,
    has_data: bool,
) -> Result<Option<Config>> {
    match receipt.map_or(Ok(None), Receipt::configuration) {
        Err(_) if !has_data => Ok(None),
        Err(error) => {
            let file = data_dir.join(RECEIPT);
            Err(error.hint(format!(
                "the cluster's data was made with it, so put back {0} as it was; if `config.toml` has the data's network of services, node name and cluster domain, let {0} say `\"config\": \"\"` instead; `usernetes uninstall --purge` removes the cluster and its data",
                file.display()
            )))
        }
        last => last,
    }
}

/// The defaults for this machine. They start as much of a cluster as the bundle has programs for.
fn fresh(manifest: &Manifest, machine: &Machine) -> Config {
    let mut config = Config::new(DnsName::derive(&machine.host_name()), Cni::Bridge);
    config.start = complete_target(&config, manifest);
    config
}

/// The widest target for all of whose services there are programs.
fn complete_target(config: &Config, manifest: &Manifest) -> Target {
    let lacking = missing(config, manifest);
    let services = Services::of(config);
    let complete = |target: &Target| {
        let needed = services.started_by(target.as_str());
        !needed.is_empty() && !needed.iter().any(|service| lacking.contains(service))
    };
    // A node alone, or a control plane without etcd, is started only if the user asks for it.
    [Target::All, Target::MasterWithEtcd, Target::Etcd]
        .into_iter()
        .find(complete)
        .unwrap_or(Target::Nothing)
}

/// Fails if the unit to start has no program, or is not part of the configuration.
pub(super) fn check_start(start: &Start, config: &Config, manifest: &Manifest) -> Result<()> {
    let services = Services::of(config);
    let wanted = services.started_by(start.unit());
    let lacking = missing(config, manifest).into_iter();
    let names: Vec<_> = lacking
        .filter(|service| wanted.contains(service))
        .map(Service::as_str)
        .collect();
    if !names.is_empty() {
        return Err(Error::new(Kind::Usage, format!("{} cannot be started", start.unit()))
            .expected(format!("programs for {}", names.join(", ")))
            .found("a bundle without them")
            .hint("use a complete bundle, or start a part with `--start u7s-etcd.target`, or nothing with `--start \"\"`"));
    }
    let known = match start {
        Start::Target(_) => true,
        Start::Service(unit) => services.all_units().contains(unit),
    };
    if known {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!("{} is not part of this configuration", start.unit()),
    )
    .found(format!(
        "`cri = \"{}\"`, `cni = \"{}\"`",
        config.cri, config.cni
    ))
    .hint("choose the runtime or the pod network it belongs to with `--cri` or `--cni`"))
}

/// These ports and, unless one of them is it already, the API server's on the loopback interface.
fn with_api(ports: &[PortSpec], config: &Config) -> Vec<PortSpec> {
    let mut all: Vec<_> = ports
        .iter()
        .any(|port| is_local_api(port, config))
        .then(Vec::new)
        .unwrap_or_else(|| own_api(config).into_iter().collect());
    all.extend(ports);
    all
}

/// The API server's port on the loopback interface; `None` on a worker, which has no API server.
fn own_api(config: &Config) -> Option<PortSpec> {
    let port = config.machines.api_port;
    let api = PortSpec {
        port,
        child_port: port,
        ..PortSpec::API
    };
    Some(api).filter(|_| !config.machines.is_worker())
}

/// Fails if a setting changes that the objects of the existing cluster depend on.
fn refuse_changes_that_break_data(changes: &[Change]) -> Result<()> {
    let Some(Change { setting, old, new }) = changes.iter().find(|c| c.setting.is_fixed_by_data())
    else {
        return Ok(());
    };
    Err(Error::new(Kind::Usage, format!("`{setting}` of an existing cluster cannot be changed"))
        .expected(format!("`{old}`, which the cluster's data was made with"))
        .found(format!("`{new}`"))
        .hint(format!(
            "set `{setting}` back to `{old}`, or remove the cluster and all its data with `usernetes uninstall --purge` first"
        )))
}

/// Fails if the network of pods changes while nodes have parts of it. The API server remembers a node's part for as long as the
/// node exists, so flannel would go on with the old one.
fn refuse_other_pods_of_nodes(last: &Config, config: &Config) -> Result<()> {
    let (old, new) = (last.network.pods, config.network.pods);
    let kept = last.cni == config.cni && last.cni.facts().network_per_node;
    if !kept || old == new {
        return Ok(());
    }
    let (cni, node) = (last.cni, &last.node_name);
    Err(Error::new(
        Kind::Usage,
        format!("`{}` cannot be changed while nodes have parts of it", Setting::Pods),
    )
    .expected(format!("`{old}`, of which the node {node} has a part"))
    .found(format!("`{new}`"))
    .hint(format!(
        "set it back to `{old}`; or give the node another part: `usernetes install --cni bridge`, `usernetes kubectl delete node {node}`, then `usernetes install --cni {cni} --pods {new}`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{api_address, pki_request};

    fn config(publish: &[&str]) -> Config {
        let mut config = Config::new("n".parse().unwrap(), Cni::Bridge);
        let ports: Vec<PortSpec> = publish.iter().map(|port| port.parse().unwrap()).collect();
        config.publish = with_api(&ports, &config);
        config
    }

    #[test]
    fn the_pods_of_nodes_keep_their_network() {
        let with = |cni, pods: &str| {
            let mut config = Config::new("n".parse().unwrap(), cni);
            config.network.pods = pods.parse().unwrap();
            config
        };
        let last = with(Cni::Flannel, "10.5.0.0/16");
        let refused = |config: &Config| refuse_other_pods_of_nodes(&last, config).err();
        assert!(refused(&last).is_none());
        assert!(refused(&with(Cni::Bridge, "10.88.0.0/16")).is_none());
        let error = refused(&with(Cni::Flannel, "10.6.0.0/16")).unwrap();
        insta::assert_snapshot!(error, @r"
        `network.pods` cannot be changed while nodes have parts of it
          expected  `10.5.0.0/16`, of which the node n has a part
          found     `10.6.0.0/16`

        hint: set it back to `10.5.0.0/16`; or give the node another part: `usernetes install --cni bridge`, `usernetes kubectl delete node n`, then `usernetes install --cni flannel --pods 10.6.0.0/16`
        ");
        let (one, other) = (
            with(Cni::Bridge, "10.88.0.0/16"),
            with(Cni::Bridge, "10.89.0.0/16"),
        );
        refuse_other_pods_of_nodes(&one, &other).unwrap();
    }

    /// The published ports, and the address at which the host reaches the API server.
    fn published(port: &str) -> (Vec<String>, Option<String>) {
        let config = config(&[port]);
        let ports = config.publish.iter().map(ToString::to_string).collect();
        (ports, api_address(&config).map(|a| a.to_string()))
    }

    #[test]
    fn the_hosts_own_way_to_the_api_server() {
        for (port, address) in [
            ("127.0.0.1:7443:6443/tcp", "127.0.0.1:7443"),
            ("0.0.0.0:7443:6443/tcp", "127.0.0.1:7443"),
            ("127.0.0.1:7443:127.0.0.1:6443/tcp", "127.0.0.1:7443"),
            ("127.0.0.1:7443:10.0.42.100:6443/tcp", "127.0.0.1:7443"),
        ] {
            let expected = (vec![port.to_owned()], Some(address.to_owned()));
            assert_eq!(published(port), expected);
        }
    }

    #[test]
    fn another_port_does_not_replace_the_hosts_way_to_the_api_server() {
        for port in [
            "127.0.0.2:6443:6443/tcp",
            "192.0.2.7:6443:6443/tcp",
            "127.0.0.1:7443:10.88.0.5:6443/tcp",
            "127.0.0.1:7443:6443/udp",
            "127.0.0.1:7443:443/tcp",
        ] {
            let ports = vec!["127.0.0.1:6443:6443/tcp".to_owned(), port.to_owned()];
            assert_eq!(published(port), (ports, Some("127.0.0.1:6443".to_owned())));
        }
    }

    #[test]
    fn certificates_name_the_addresses_the_api_server_is_published_on() {
        let config = config(&[
            "127.0.0.2:6443:6443/tcp",
            "192.0.2.7:6443:6443/tcp",
            "192.0.2.8:6443:10.88.0.5:6443/tcp",
        ]);
        let request = pki_request(&config, &Machine::this());
        assert_eq!(request.extra_sans, ["127.0.0.1", "127.0.0.2", "192.0.2.7"]);
    }
}
