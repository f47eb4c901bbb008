//! `join`: this machine becomes a worker of another machine's cluster.
//!
//! Everything is looked at before anything is written: the server, the token, the clock, the versions, the name and the networks.
//! A machine that is refused is as it was before.

mod ask;
mod clock;
mod control_plane;
mod follow;
#[cfg(feature = "fuzz")]
pub mod fuzz;
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
use crate::nodes::{Identity, Token, fetch_authorities, own_member, spent};
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
    /// Become another control plane.
    pub control_plane: bool,
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

/// Joins the cluster of a token, and starts this machine's part of it. Afterwards it is a node that is ready, and another control
/// plane if that was asked for.
pub fn join(
    token: &Token,
    options: &Options,
    machine: &Machine,
    progress: &Progress,
) -> Result<Report> {
    check_purpose(token, options)?;
    let own = install::configured()?;
    refuse_own_cluster(
        own.as_ref(),
        has_own_data(own.as_ref())?,
        options.control_plane,
    )?;
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
    let report = if options.control_plane {
        found.check_same_version(prepared.manifest())?;
        let authorities = fetch_authorities(cluster.client(), token).map_err(Cluster::explained)?;
        if own.is_some() {
            lifecycle::stop_all(&Current::read()?, progress)?;
            control_plane::forget(&layout)?;
        }
        control_plane::join(&authorities, *cluster.endpoint.ip(), prepared, progress)?
    } else {
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
        prepared.carry_out(progress)?
    };
    let current = Current::read()?;
    if options.control_plane {
        spent(&current.own_api()?, token)?;
        control_plane::warn(&current, progress);
    }
    // Without a service manager nothing was started. A control plane without pods is no node, to which there would be ways.
    if current.is_running() && current.config.runs_pods() {
        prove::prove(&current, progress)?;
    }
    Ok(report)
}

/// Fails if the token is for something else than what was asked for.
fn check_purpose(token: &Token, options: &Options) -> Result<()> {
    match (token.is_for_control_plane(), options.control_plane) {
        (true, false) => Err(
            Error::new(Kind::Usage, "the token is for another control plane")
                .hint("run `usernetes join --control-plane`; for a worker, make a token with `usernetes token create`"),
        ),
        (false, true) => Err(
            Error::new(Kind::Usage, "the token is for a worker")
                .hint("make a token with `usernetes token create --control-plane` on the first machine"),
        ),
        _ => Ok(()),
    }
}

/// Whether this machine has data of a cluster. That of a control plane whose join was interrupted does not count: its etcd never
/// had a vote.
fn has_own_data(own: Option<&Config>) -> Result<bool> {
    let data = paths::data_dir()?;
    if own.is_none() || !has_etcd_data(&data) {
        return Ok(false);
    }
    let current = Current::read()?;
    let member = own_member(&current.layout)?;
    Ok(member.is_none_or(|member| member.promoted))
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

/// Fails if this machine has a cluster of its own. One that was installed and never started is none: it has no data. A worker
/// cannot become a control plane either, because its certificates are of another kind.
fn refuse_own_cluster(own: Option<&Config>, has_data: bool, control_plane: bool) -> Result<()> {
    let Some(config) = own else {
        return Ok(());
    };
    let node = &config.node_name;
    if config.machines.is_worker() {
        if control_plane {
            return Err(
                Error::new(Kind::Usage, "this machine is a worker of a cluster")
                    .found(format!("the node {node}"))
                    .hint(format!("on the machine with the control plane, run `usernetes node remove {node}`, and here `usernetes uninstall --purge`, then join again")),
            );
        }
        return Ok(());
    }
    if !has_data {
        return Ok(());
    }
    Err(
        Error::new(Kind::Usage, "this machine has a cluster of its own")
            .found(format!("the node {node}, with a control plane"))
            .hint("to give it up with all its data, run `usernetes uninstall --purge` first"),
    )
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
    if options.control_plane {
        config.without.clone_from(&found.without);
        config.machines.several_control_planes = true;
    } else {
        config.become_worker(cluster.endpoints.clone());
    }
    config.machines.mtu = found.mtu;
    let same_port = MachineFlags {
        api_port: Some(cluster.api_port()),
        ..MachineFlags::default()
    };
    same_port.apply(&mut config);
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
    fn a_token_is_for_one_purpose() {
        let token = |key: Option<&str>| Token {
            endpoints: vec!["192.0.2.7:6443".parse().unwrap()],
            authority: crate::digest::Sha256::of(b"key"),
            id: "abcdef".to_owned(),
            secret: "0123456789abcdef".to_owned(),
            key: key.map(str::to_owned),
        };
        let options = |control_plane| Options {
            control_plane,
            ..Options::default()
        };
        let check = |key, control_plane| check_purpose(&token(key), &options(control_plane));
        check(None, false).unwrap();
        check(Some("k"), true).unwrap();
        let error = check(Some("k"), false).unwrap_err().to_string();
        assert!(error.contains("join --control-plane"), "{error}");
        let error = check(None, true).unwrap_err().to_string();
        assert!(error.contains("token create --control-plane"), "{error}");
    }

    #[test]
    fn a_cluster_that_never_ran_is_given_up() {
        let mut config = Config::new(DnsName::new("n").unwrap(), Cni::Flannel);
        refuse_own_cluster(None, false, false).unwrap();
        refuse_own_cluster(Some(&config), false, true).unwrap();
        let error = refuse_own_cluster(Some(&config), true, true).unwrap_err();
        assert_eq!(error.message(), "this machine has a cluster of its own");
        config.machines.role = Role::Worker;
        refuse_own_cluster(Some(&config), true, false).unwrap();
        let error = refuse_own_cluster(Some(&config), true, true).unwrap_err();
        assert_eq!(error.message(), "this machine is a worker of a cluster");
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
