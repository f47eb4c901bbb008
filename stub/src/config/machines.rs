//! This machine among the machines of its cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use super::port::API_PORT;
use super::{Cni, Config, Cri, PortSpec, Proto, Role, Setting, Target};
use crate::error::{Error, Kind, Result};

/// The settings that only clusters of several machines need. The defaults are those of a single machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machines {
    /// What this machine does.
    pub role: Role,
    /// The address of this machine at which the others reach it; `None` for a cluster of one machine.
    pub address: Option<Ipv4Addr>,
    /// For a worker: where the API servers answered when it joined.
    pub endpoints: Vec<SocketAddrV4>,
    /// The size, in bytes, of the largest packet that the network between the machines carries whole.
    pub mtu: u32,
    /// The port of the API server, on this machine and in the cluster.
    pub api_port: NonZeroU16,
    /// The port of the kubelet, on this machine and in the cluster.
    pub kubelet_port: NonZeroU16,
    /// The port of the pod network between machines. It is the same on all machines of a cluster.
    pub vxlan_port: NonZeroU16,
    /// For a control plane: whether others stand beside it, or may do so.
    pub several_control_planes: bool,
}

/// The sizes of packets that a network may have. IPv4 needs 576 (RFC 791), and VXLAN takes 50 of them.
const MTUS: std::ops::RangeInclusive<u32> = 626..=65520;
/// How much of a packet VXLAN needs for itself.
const VXLAN_OVERHEAD: u32 = 50;

impl Default for Machines {
    fn default() -> Self {
        Self {
            role: Role::ControlPlane,
            address: None,
            endpoints: Vec::new(),
            mtu: 1500,
            api_port: API_PORT,
            kubelet_port: KUBELET_PORT,
            vxlan_port: VXLAN_PORT,
            several_control_planes: false,
        }
    }
}

/// The usual port of a kubelet.
const KUBELET_PORT: NonZeroU16 = NonZeroU16::new(10250).unwrap();
/// The port that flannel uses for VXLAN on Linux if it is not told another one.
const VXLAN_PORT: NonZeroU16 = NonZeroU16::new(8472).unwrap();
/// The port at which clients reach etcd, on this machine and on other control planes.
pub const ETCD_PORT: NonZeroU16 = NonZeroU16::new(2379).unwrap();
/// The port at which the members of etcd on other control planes reach this one.
pub const ETCD_PEER_PORT: NonZeroU16 = NonZeroU16::new(2380).unwrap();

impl Machines {
    /// Whether this machine only runs pods, for the control plane of another machine.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.role == Role::Worker
    }

    /// Whether this machine has the control plane of a cluster that other machines can join.
    #[must_use]
    pub fn is_joinable(&self) -> bool {
        !self.is_worker() && self.address.is_some()
    }

    /// The address at which other control planes reach this one; `None` if there are no others.
    #[must_use]
    pub fn peer_address(&self) -> Option<Ipv4Addr> {
        self.address
            .filter(|_| self.several_control_planes && !self.is_worker())
    }

    /// The size of the largest packet of a pod; `None` for a cluster of one machine, whose packets go through no network.
    #[must_use]
    pub fn pod_mtu(&self) -> Option<u32> {
        self.address.map(|_| self.mtu - VXLAN_OVERHEAD)
    }

    /// A port of this machine that leads to the same port in the namespace.
    fn port(&self, port: NonZeroU16, proto: Proto) -> Option<PortSpec> {
        Some(PortSpec {
            ip: IpAddr::V4(self.address?),
            port,
            child_ip: None,
            child_port: port,
            proto,
        })
    }
}

impl Config {
    /// Makes it the configuration of a worker whose control plane answers at these addresses. What belongs to the cluster stays.
    pub(crate) fn become_worker(&mut self, endpoints: Vec<SocketAddrV4>) {
        self.publish.clear();
        self.start = Target::Node;
        self.machines.role = Role::Worker;
        self.machines.endpoints = endpoints;
    }

    /// The address of this machine as the cluster knows it: the one at which other machines reach it, or the one of `tap0` if
    /// there are no others.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.machines.address.unwrap_or_else(|| self.node_ip())
    }

    /// All ports of this host that lead into the cluster: those that the user has chosen, and those at which other machines reach
    /// this one.
    #[must_use]
    pub fn all_ports(&self) -> Vec<PortSpec> {
        let mut ports = self.publish.clone();
        for port in self.machine_ports() {
            // One of the user's may lead there already, for example at every address.
            if !ports.iter().any(|other| other.collides_with(&port)) {
                ports.push(port);
            }
        }
        ports
    }

    /// The ports at which other machines reach this one: the API server's, the kubelet's and that of the pod network.
    fn machine_ports(&self) -> Vec<PortSpec> {
        let machines = &self.machines;
        let api = machines.port(machines.api_port, Proto::Tcp);
        let kubelet = machines.port(machines.kubelet_port, Proto::Tcp);
        let vxlan = machines.port(machines.vxlan_port, Proto::Udp);
        let node = self.cri != Cri::None;
        let api = api.filter(|_| machines.is_joinable());
        let kubelet = kubelet.filter(|_| node);
        let vxlan = vxlan.filter(|_| node && self.cni == Cni::Flannel);
        let etcd = [ETCD_PORT, ETCD_PEER_PORT].map(|port| {
            machines.peer_address()?;
            let mut port = machines.port(port, Proto::Tcp)?;
            // There it listens in any case. Nothing in the cluster's network reaches it.
            port.child_ip = Some(Ipv4Addr::LOCALHOST);
            Some(port)
        });
        let ports = [api, kubelet, vxlan].into_iter().chain(etcd);
        ports.flatten().collect()
    }

    /// Checks the settings of several machines. An error has this kind and calls each setting what `name` gives.
    pub(super) fn check_machines(
        &self,
        kind: Kind,
        name: &impl Fn(Setting) -> String,
    ) -> Result<()> {
        let machines = &self.machines;
        if !MTUS.contains(&machines.mtu) {
            let message = format!("{} is out of range", name(Setting::Mtu));
            return Err(Error::new(kind, message)
                .expected(format!("a number from {} to {}", MTUS.start(), MTUS.end()))
                .found(format!("`{}`", machines.mtu)));
        }
        if let Some(address) = machines.address {
            self.check_address(address, kind, name)?;
        }
        let ports = [
            (Setting::ApiPort, machines.api_port),
            (Setting::KubeletPort, machines.kubelet_port),
        ];
        if ports[0].1 == ports[1].1 {
            let [api, kubelet] = ports.map(|(setting, _)| name(setting));
            return Err(
                Error::new(kind, format!("{kubelet} is the same port as {api}"))
                    .found(format!("`{}`", machines.api_port))
                    .hint("choose another port for one of them"),
            );
        }
        if !machines.is_worker() {
            return Ok(());
        }
        let lacks = |what: &str, setting: Setting| {
            Error::new(kind, format!("a worker needs {what}")).expected(name(setting))
        };
        if machines.address.is_none() {
            return Err(lacks(
                "an address at which the others reach it",
                Setting::Address,
            ));
        }
        if machines.endpoints.is_empty() {
            return Err(lacks("the address of an API server", Setting::Endpoints)
                .hint("let it join with `usernetes join`"));
        }
        if self.cri == Cri::None {
            return Err(lacks("a container runtime", Setting::Cri));
        }
        Ok(())
    }

    /// Fails if other machines cannot reach this one at this address, or if it is in one of the cluster's own networks.
    fn check_address(
        &self,
        address: Ipv4Addr,
        kind: Kind,
        name: &impl Fn(Setting) -> String,
    ) -> Result<()> {
        let what = name(Setting::Address);
        if address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_broadcast()
        {
            return Err(Error::new(
                kind,
                format!("{what} is not an address at which other machines reach this one"),
            )
            .expected("an IPv4 address of this machine in the network of the others")
            .found(format!("`{address}`")));
        }
        for (setting, network) in [
            (Setting::Rootlesskit, self.network.rootlesskit),
            (Setting::Services, self.network.services),
            (Setting::Pods, self.network.pods),
        ] {
            if network.contains(address) {
                let network_name = name(setting);
                return Err(Error::new(kind, format!("{what} is inside {network_name}"))
                    .found(format!("`{address}` and `{network}`"))
                    .hint(format!("choose another network for {network_name}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DnsName;

    fn config(address: &str) -> Config {
        let mut config = Config::new(DnsName::new("n").unwrap(), Cni::Flannel);
        config.machines.address = Some(address.parse().unwrap());
        config
    }

    fn shown(ports: &[PortSpec]) -> Vec<String> {
        ports.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_single_machine_publishes_what_the_user_has_chosen() {
        let config = Config::new(DnsName::new("n").unwrap(), Cni::Flannel);
        assert_eq!(config.all_ports(), config.publish);
        assert_eq!(config.address(), config.node_ip());
        assert_eq!(config.machines.pod_mtu(), None);
    }

    #[test]
    fn other_machines_reach_the_api_server_the_kubelet_and_the_pod_network() {
        let mut config = config("192.0.2.7");
        let node = ["192.0.2.7:10250:10250/tcp", "192.0.2.7:8472:8472/udp"];
        let with = |first: &[&'static str]| [first, &node].concat();
        assert_eq!(
            shown(&config.all_ports()),
            with(&["127.0.0.1:6443:6443/tcp", "192.0.2.7:6443:6443/tcp"])
        );
        assert_eq!(config.machines.pod_mtu(), Some(1450));
        config.publish = vec!["0.0.0.0:6443:6443/tcp".parse().unwrap()];
        assert_eq!(shown(&config.all_ports()), with(&["0.0.0.0:6443:6443/tcp"]));
        config.machines.several_control_planes = true;
        assert_eq!(
            shown(&config.all_ports())[3..],
            [
                "192.0.2.7:2379:127.0.0.1:2379/tcp",
                "192.0.2.7:2380:127.0.0.1:2380/tcp"
            ]
        );
        config.machines.role = Role::Worker;
        config.publish.clear();
        assert_eq!(shown(&config.all_ports()), node);
    }

    #[test]
    fn settings_that_do_not_go_together_are_named() {
        let mut same = config("192.0.2.7");
        same.machines.kubelet_port = API_PORT;
        let mut worker = config("192.0.2.7");
        worker.machines.role = Role::Worker;
        let mut packets = config("192.0.2.7");
        packets.machines.mtu = 20;
        let errors = [
            config("127.0.0.1"),
            config("10.5.3.1"),
            same,
            worker,
            packets,
        ]
        .map(|config| config.check().unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n\n"), @r"
        bad configuration: `machines.address` is not an address at which other machines reach this one
          expected  an IPv4 address of this machine in the network of the others
          found     `127.0.0.1`

        bad configuration: `machines.address` is inside `network.pods`
          found  `10.5.3.1` and `10.5.0.0/16`

        hint: choose another network for `network.pods`

        bad configuration: `machines.kubelet_port` is the same port as `machines.api_port`
          found  `6443`

        hint: choose another port for one of them

        bad configuration: a worker needs the address of an API server
          expected  `machines.endpoints`

        hint: let it join with `usernetes join`

        bad configuration: `machines.mtu` is out of range
          expected  a number from 626 to 65520
          found     `20`
        ");
    }
}
