//! The settings of an installation: those of the existing configuration, with the command line's on top.

use std::path::Path;

use crate::bundle::Manifest;
use crate::cidr::Cidr;
use crate::cluster::{RECEIPT, Receipt, is_local_api};
use crate::config::{Cni, Config, Cri, DnsName, PortSpec, Target};
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::lifecycle::missing;
use crate::services::{Service, Services, UnitName, all_unit_names};
use crate::signature::Verdict;

/// What the command line says. What it does not say stays as it is.
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
    /// `--publish`: all ports that are to be published, besides the API server's.
    pub publish: Option<Vec<PortSpec>>,
    /// `--start`
    pub start: Option<Start>,
    /// `--repair`: read and compare every installed byte.
    pub repair: bool,
    /// `--force`: start even on a machine that is found unfit.
    pub force: bool,
    /// `--origin`: what is known of the bundle's origin; `None` to look for a signature beside it.
    pub origin: Option<Verdict>,
    /// For `run`: no service manager is asked, and no units are made.
    pub supervised: bool,
    /// `--generation`: the one to make current, of those there are; `None` for that of this program.
    pub generation: Option<u64>,
}

impl Flags {
    /// What a setting is to be called: by the flag that sets it, or by its key in `config.toml`.
    fn name(&self, key: &str) -> String {
        let flag = match key {
            "cri" if self.cri.is_some() => "--cri",
            "node_name" if self.node_name.is_some() => "--node-name",
            "network.pods" if self.pods.is_some() => "--pods",
            "network.rootlesskit" if self.cidr.is_some() => "--cidr",
            "network.services" if self.services.is_some() => "--services",
            "publish" if self.publish.is_some() => "--publish",
            "start" if self.start.is_some() => "--start",
            key => key,
        };
        format!("`{flag}`")
    }
}

/// What is started at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A target, which also starts with every login, or nothing.
    Target(Target),
    /// One service, this once.
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

/// A configuration that was checked, and what became of the flags.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What `config.toml` is to say.
    pub config: Config,
    /// What is to be started now.
    pub start: Start,
    /// What the command line or the user's editor changed, each as `cni: bridge → flannel`.
    pub changes: Vec<String>,
}

/// Merges the flags into the configuration that is there, or into what the manifest's programs and this machine suggest.
/// `applied` is the configuration of the last installation, which the running cluster has.
pub(super) fn merge(
    flags: &Flags,
    existing: Option<Config>,
    applied: Option<&Config>,
    manifest: &Manifest,
    machine: &Machine,
    has_data: bool,
) -> Result<Settings> {
    let mut config = existing.unwrap_or_else(|| fresh(manifest, machine));
    if let Some(name) = &flags.node_name {
        config.node_name.clone_from(name);
    }
    if let Some(cri) = flags.cri {
        config.cri = cri;
    }
    if let Some(cni) = flags.cni.filter(|cni| *cni != config.cni) {
        let default = |cni| Config::new(config.node_name.clone(), cni).network.pods;
        // A network that somebody chose stays.
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
    if let Some(publish) = &flags.publish {
        config.publish = with_api(publish, &config);
    }
    let start = match &flags.start {
        Some(Start::Target(target)) => {
            config.start = *target;
            Start::Target(*target)
        }
        Some(service) => service.clone(),
        None => Start::Target(config.start),
    };
    // Without the flags it was checked when it was read.
    config.check_as(Kind::Usage, |key| flags.name(key))?;
    let changes = applied.map_or_else(Vec::new, |applied| differences(applied, &config));
    if let Some(applied) = applied.filter(|_| has_data) {
        refuse_what_data_depends_on(applied, &config)?;
    }
    Ok(Settings {
        config,
        start,
        changes,
    })
}

/// The configuration of the last installation, which the data was made with; `None` if there was none. One that cannot be
/// read counts as none only where there is no data that could have been made with it.
pub(super) fn applied(
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
        applied => applied,
    }
}

/// The defaults, for this machine and for as much of a cluster as there are programs for.
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
    // A node alone, or a control plane whose etcd is elsewhere, is nothing that one would get without asking for it.
    [Target::All, Target::MasterWithEtcd, Target::Etcd]
        .into_iter()
        .find(complete)
        .unwrap_or(Target::Nothing)
}

/// Fails if what is to be started has no program, or is not part of the configuration.
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

/// These ports, and the API server's on the loopback interface unless one of them is that.
fn with_api(ports: &[PortSpec], config: &Config) -> Vec<PortSpec> {
    let mut all: Vec<_> = ports
        .iter()
        .any(|port| is_local_api(port, config))
        .then(Vec::new)
        .unwrap_or_else(|| vec![PortSpec::API]);
    all.extend(ports);
    all
}

/// A line for every setting that differs.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    let quoted = |text: &str| {
        if text.is_empty() {
            "\"\"".to_owned()
        } else {
            text.to_owned()
        }
    };
    let ports = |config: &Config| {
        config
            .publish
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let values = |c: &Config| {
        [
            ("cri", quoted(c.cri.as_str())),
            ("cni", c.cni.to_string()),
            ("node_name", c.node_name.to_string()),
            ("cluster_domain", c.cluster_domain.to_string()),
            ("publish", ports(c)),
            ("start", quoted(c.start.as_str())),
            ("network.rootlesskit", c.network.rootlesskit.to_string()),
            ("network.services", c.network.services.to_string()),
            ("network.pods", c.network.pods.to_string()),
        ]
    };
    let pairs = values(before).into_iter().zip(values(after));
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((key, old), (_, new))| format!("{key}: {old} → {new}"))
        .collect()
}

/// Objects in etcd carry service addresses and the node's name: another value would leave them behind.
fn refuse_what_data_depends_on(applied: &Config, wanted: &Config) -> Result<()> {
    let fixed = ["network.services", "node_name", "cluster_domain"];
    let Some(change) = differences(applied, wanted)
        .into_iter()
        .find(|change| fixed.iter().any(|key| change.starts_with(key)))
    else {
        return Ok(());
    };
    let (key, values) = change.split_once(": ").unwrap_or((&change, ""));
    let (old, new) = values.split_once(" → ").unwrap_or((values, ""));
    Err(Error::new(Kind::Usage, format!("`{key}` of an existing cluster cannot be changed"))
        .expected(format!("`{old}`, which the cluster's data was made with"))
        .found(format!("`{new}`"))
        .hint(format!(
            "set `{key}` back to `{old}`, or remove the cluster and all its data with `usernetes uninstall --purge` first"
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

    /// What is published, and where the host reaches the API server.
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
    fn what_is_not_the_hosts_way_does_not_take_the_place_of_it() {
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
