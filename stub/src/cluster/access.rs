//! The addresses of the cluster, and the names in its certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::SystemTime;

use crate::config::{Config, PortSpec};
use crate::error::Result;
use crate::host::Machine;
use crate::pki;

/// Whether it leads from 127.0.0.1 of this machine to the API server.
pub(crate) fn is_local_api(port: &PortSpec, config: &Config) -> bool {
    let mut alone = config.clone();
    alone.publish = vec![*port];
    alone.api_port().is_some()
}

/// The address at which this machine reaches the API server; `None` if it is not published there.
#[must_use]
pub fn api_address(config: &Config) -> Option<SocketAddr> {
    let port = config.api_port()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port.port.get())))
}

/// The address at which the services of this machine reach the API server. On a worker, a forwarder answers there.
#[must_use]
pub(crate) fn component_server(config: &Config) -> SocketAddr {
    let ip = if config.machines.is_worker() {
        Ipv4Addr::LOCALHOST
    } else {
        config.node_ip()
    };
    SocketAddr::from((ip, config.machines.api_port.get()))
}

/// The names and addresses for the certificates. `machine` has the addresses at which a port published everywhere is
/// reached.
#[must_use]
pub(crate) fn pki_request(config: &Config, machine: &Machine) -> pki::Request {
    let mut names = Vec::new();
    let ports = config.publish.iter();
    for port in ports.filter(|p| config.is_api(p)) {
        if port.ip.is_unspecified() {
            let addresses = machine.addresses().into_iter();
            let same_kind = addresses.filter(|a| a.is_ipv4() == port.ip.is_ipv4());
            names.extend(same_kind.map(|a| a.to_string()));
        } else {
            names.push(port.ip.to_string());
        }
    }
    pki::Request {
        node_name: config.node_name.clone(),
        cluster_domain: config.cluster_domain.clone(),
        service_ip: IpAddr::V4(config.api_service_ip()),
        child_ip: IpAddr::V4(config.node_ip()),
        address: config.machines.address.map(IpAddr::V4),
        extra_sans: names,
        api_port: api_address(config).map_or(config.machines.api_port.get(), |a| a.port()),
        component_server: component_server(config),
    }
}

/// Fails if the PKI in a configuration directory could not be made or completed. Changes nothing. A worker has no authority: it
/// gets its certificates from the control plane.
pub(crate) fn check_pki(
    config_dir: &Path,
    config: &Config,
    machine: &Machine,
) -> Result<pki::Ensured> {
    if config.machines.is_worker() {
        return Ok(pki::Ensured::default());
    }
    let request = pki_request(config, machine);
    pki::check(config_dir, &request, SystemTime::now())
}
