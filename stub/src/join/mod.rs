//! `join`: this machine becomes a worker of another machine's cluster.
//!
//! Everything is looked at before anything is written: the server, the token, the clock, the versions, the name and the networks.
//! A machine that is refused is as it was before.

mod ask;
mod clock;
mod follow;
mod prove;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use crate::cidr::Cidr;
use crate::cluster::Current;
use crate::config::{Config, Cri, DnsName, NetworkDriver};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{remove_if_there, remove_tree};
use crate::host::{Machine, address_towards};
use crate::install::{self, Flags, MachineFlags, Report};
use crate::layout::{Credential, Kubeconfig, Layout, MASTER, has_etcd_data};
use crate::lifecycle;
use crate::nodes::{Identity, Token};
use crate::paths;
use crate::progress::Progress;
use ask::{Cluster, Found};
pub use follow::follow;

/// What the user has chosen for this machine.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The name of the node; `None` for one derived from the machine's name.
    pub name: Option<DnsName>,
    /// How the others reach this machine.
    pub machines: MachineFlags,
    /// The container runtime.
    pub cri: Option<Cri>,
    /// The network between the host and the namespaces.
    pub cidr: Option<Cidr>,
    /// `--network-driver`
    pub network_driver: Option<NetworkDriver>,
    /// Go on although the machine is unfit.
    pub force: bool,
    /// How long each step of the start may take.
    pub timeout: Option<Duration>,
}

/// The longest text that is read as a token, in bytes.
const LONGEST: u64 = 64 << 10;

/// Reads a token from a file, or from standard input if the file is `-`. As an argument, other users could read it.
pub fn read_token(file: &Path) -> Result<Token> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(LONGEST).read_to_string(&mut text)?;
    } else {
        let file = fs_err::File::open(file)?;
        file.take(LONGEST).read_to_string(&mut text)?;
    }
    text.parse::<Token>().about(|| match file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => file.display().to_string(),
    })
}

/// Joins the cluster of a token, and starts this machine's part of it. Afterwards it is a node that is ready.
pub fn join(
    token: &Token,
    options: &Options,
    machine: &Machine,
    progress: &Progress,
) -> Result<Report> {
    let own = install::configured()?;
    refuse_own_cluster(own.as_ref(), has_etcd_data(&paths::data_dir()?))?;
    let wait = progress.wait("cluster");
    let cluster = ask::connect(token)?;
    let found = cluster.found()?;
    clock::check(&found.date)?;
    let config = configuration(&cluster, &found, options, machine)?;
    cluster.check_name(config.node_name.as_str())?;
    wait.finish("found");
    let flags = Flags {
        joined: Some(config),
        force: options.force,
        timeout: options.timeout,
        ..Flags::default()
    };
    let prepared = install::prepare(&flags, machine)?;
    found.check_versions(prepared.manifest())?;
    let (layout, config) = (prepared.layout()?, prepared.config().clone());
    let wait = progress.wait("certificates");
    let identity = Identity::of(&layout, &config);
    let trusted = found.trusted(cluster.authority()?)?;
    if let Err(error) = identity.obtain(cluster.client(), &trusted) {
        prepared.remove_directories();
        return Err(Cluster::explained(error));
    }
    wait.finish("issued");
    forget_own_authorities(&layout)?;
    if own.is_some() {
        // The services of a worker that joins again have the certificate from before, and a kubelet whose node was removed
        // does not register it again while it runs.
        lifecycle::stop_all(&Current::read()?, progress)?;
    }
    let report = prepared.carry_out(progress)?;
    let current = Current::read()?;
    // Without a service manager nothing was started.
    if current.is_running() {
        prove::prove(&current, progress)?;
    }
    Ok(report)
}

/// Removes the authorities of a cluster that was installed here and never started, and the certificates that they have issued:
/// a worker holds none.
fn forget_own_authorities(layout: &Layout) -> Result<()> {
    remove_tree(&layout.config().join(MASTER))?;
    for credential in [Credential::KubeProxy, Credential::Flannel] {
        remove_if_there(&layout.certificate(credential))?;
        remove_if_there(&layout.key(credential))?;
    }
    for kubeconfig in [Kubeconfig::KubeProxy, Kubeconfig::Flannel] {
        remove_if_there(&layout.kubeconfig(kubeconfig))?;
    }
    Ok(())
}

/// Fails if this machine has a cluster of its own. One that was installed and never started is none: it has no data.
fn refuse_own_cluster(own: Option<&Config>, has_data: bool) -> Result<()> {
    match own {
        Some(config) if has_data && !config.machines.is_worker() => Err(Error::new(
            Kind::Usage,
            "this machine has a cluster of its own",
        )
        .found(format!(
            "the node {}, with a control plane",
            config.node_name
        ))
        .hint("to give it up with all its data, run `usernetes uninstall --purge` first")),
        _ => Ok(()),
    }
}

/// The configuration of this machine: the cluster's facts, and the user's choices.
fn configuration(
    cluster: &Cluster,
    found: &Found,
    options: &Options,
    machine: &Machine,
) -> Result<Config> {
    let name = options.name.clone();
    let name = name.unwrap_or_else(|| DnsName::derive(&machine.host_name()));
    let mut config = Config::new(name, found.cni);
    config.cluster_domain = found.cluster_domain.clone();
    config.network.services = found.services;
    config.network.pods = found.pods;
    config.network.dns = found.dns;
    let network = &mut config.network;
    network.rootlesskit = options.cidr.unwrap_or(network.rootlesskit);
    network.driver = options.network_driver.unwrap_or(network.driver);
    config.cri = options.cri.unwrap_or(config.cri);
    config.become_worker(cluster.endpoints.clone());
    config.machines.mtu = found.mtu;
    config.machines.api_port = cluster.api_port();
    options.machines.apply(&mut config);
    config.machines.vxlan_port = found.vxlan_port;
    if config.machines.address.is_none() {
        config.machines.address = Some(own_address(cluster.endpoint)?);
    }
    config.check_as(Kind::Usage, |setting| format!("`{setting}`"))?;
    Ok(config)
}

/// The address with which this machine reaches an API server. The others are taken to reach it there as well.
fn own_address(endpoint: SocketAddrV4) -> Result<Ipv4Addr> {
    match address_towards(endpoint)? {
        address if !address.is_loopback() => Ok(address),
        address => Err(Error::new(
            Kind::Usage,
            "this machine's address for the others is not known",
        )
        .found(address)
        .hint("name it with `--address`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cni, Role};
    use crate::layout::NODE;

    #[test]
    fn a_cluster_that_never_ran_is_given_up() {
        let mut config = Config::new(DnsName::new("n").unwrap(), Cni::Flannel);
        refuse_own_cluster(None, false).unwrap();
        refuse_own_cluster(Some(&config), false).unwrap();
        let error = refuse_own_cluster(Some(&config), true).unwrap_err();
        assert_eq!(error.message(), "this machine has a cluster of its own");
        config.machines.role = Role::Worker;
        refuse_own_cluster(Some(&config), true).unwrap();
    }

    #[test]
    fn a_worker_keeps_no_authority() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let layout = Layout::new(at("c"), at("d"), at("r"), at("g")).unwrap();
        for dir in [MASTER, NODE] {
            fs_err::create_dir_all(layout.config().join(dir)).unwrap();
        }
        let own = layout.key(Credential::KubeletClient);
        for file in [
            layout.key(Credential::ClusterAuthority),
            layout.key(Credential::Flannel),
            layout.kubeconfig(Kubeconfig::KubeProxy),
            own.clone(),
        ] {
            fs_err::write(file, "").unwrap();
        }
        forget_own_authorities(&layout).unwrap();
        assert!(!layout.config().join(MASTER).exists());
        let node = fs_err::read_dir(layout.config().join(NODE)).unwrap();
        let left: Vec<_> = node.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [own]);
    }
}
