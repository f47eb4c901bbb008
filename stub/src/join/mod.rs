//! `join`: this machine becomes a worker of another machine's cluster.
//!
//! Everything is looked at before anything is written: the server, the token, the clock, the versions, the name and the networks.
//! A machine that is refused is as it was before.

mod ask;
mod clock;

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::cidr::Cidr;
use crate::cluster::Current;
use crate::config::{Config, Cri, DnsName, Role, Target};
use crate::error::{Context as _, Error, Kind, Result};
use crate::host::Machine;
use crate::install::{self, Flags, MachineFlags, Report};
use crate::lifecycle;
use crate::nodes::{Identity, Token};
use crate::progress::Progress;
use ask::{Cluster, Found};

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
    refuse_own_cluster(own.as_ref())?;
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
    if let Err(error) = identity.obtain(cluster.client(), cluster.authority()?) {
        prepared.remove_directories();
        return Err(Cluster::explained(error));
    }
    wait.finish("issued");
    if own.is_some() {
        // The services of a worker that joins again have the certificate from before, and a kubelet whose node was removed
        // does not register it again while it runs.
        lifecycle::stop_all(&Current::read()?, progress)?;
    }
    prepared.carry_out(progress)
}

/// Fails if this machine has a control plane of its own.
fn refuse_own_cluster(own: Option<&Config>) -> Result<()> {
    match own {
        Some(config) if !config.machines.is_worker() => Err(Error::new(
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
    config.network.rootlesskit = options.cidr.unwrap_or(config.network.rootlesskit);
    config.cri = options.cri.unwrap_or(config.cri);
    config.publish.clear();
    config.start = Target::Node;
    let machines = &mut config.machines;
    machines.role = Role::Worker;
    machines.endpoints.clone_from(&cluster.endpoints);
    machines.mtu = found.mtu;
    machines.api_port = cluster.api_port();
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
    // A UDP socket that is connected has an address, and sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(endpoint)?;
    match socket.local_addr()? {
        std::net::SocketAddr::V4(address) if !address.ip().is_loopback() => Ok(*address.ip()),
        address => Err(Error::new(
            Kind::Usage,
            "this machine's address for the others is not known",
        )
        .found(address.ip())
        .hint("name it with `--address`")),
    }
}
