//! Ports of this machine that lead into the cluster.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::{CheckId, Finding, Level, Machine};
use crate::config::{Config, PortSpec, Proto};

const ID: CheckId = CheckId::Ports;
const FIRST_UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const SYSCTL: &str = "/etc/sysctl.d/99-usernetes-ports.conf";

/// One finding for each port that another program has taken, or whose address this machine does not have. A port that this
/// cluster's own RootlessKit holds is not taken; links in `data_dir`, from which RootlessKit runs, are resolved. Only the API
/// server's port keeps the cluster from starting.
pub(super) fn bound(machine: &Machine, config: &Config, data_dir: &Path) -> Vec<Finding> {
    let ports = &config.all_ports();
    let own = config.machines.address.map(IpAddr::V4);
    let judge = |port: &PortSpec| match bind(port).err()?.kind() {
        ErrorKind::AddrInUse => Some(taken(machine, port, data_dir)?.weighed(config, port)),
        // The others reach this machine nowhere if the address that it tells them is not its own.
        ErrorKind::AddrNotAvailable if own == Some(port.ip) => Some(elsewheres(machine, port)),
        ErrorKind::AddrNotAvailable => Some(elsewheres(machine, port).weighed(config, port)),
        // Ports that only root may take are another finding.
        _ => None,
    };
    let mut findings: Vec<_> = ports.iter().filter_map(judge).collect();
    if findings.is_empty() {
        let list: Vec<_> = ports.iter().map(shown).collect();
        findings.push(Finding::ok(
            ID,
            format!("free, or already used by this cluster: {}", list.join(", ")),
        ));
    }
    findings
}

impl Finding {
    /// The finding about a port, as bad as the cluster needs that port. All but the API server's are published later.
    fn weighed(mut self, config: &Config, port: &PortSpec) -> Self {
        if config.api_port() != Some(port) {
            self.level = Level::Warn;
            self.expected
                .push_str("; until then, the cluster runs without it");
        }
        self
    }
}

/// Takes the port and releases it again. The options are those of RootlessKit: an IPv6 address takes IPv6 alone, and
/// connections that have just ended do not count.
fn bind(port: &PortSpec) -> io::Result<()> {
    let address = SocketAddr::new(port.ip, port.port.get());
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let kind = match port.proto {
        Proto::Tcp => SocketType::STREAM,
        Proto::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if port.proto == Proto::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    if port.proto == Proto::Tcp {
        net::listen(&socket, 1)?;
    }
    Ok(())
}

/// The finding about a port that could not be bound, with its holder; `None` if that is a program in our own store.
pub(super) fn taken(machine: &Machine, port: &PortSpec, data_dir: &Path) -> Option<Finding> {
    let shown = shown(port);
    let owner = match holder(machine, port) {
        Some(Holder::Mine { pid, program }) => {
            if Path::new(&program).starts_with(data_dir) {
                return None;
            }
            format!("your process {pid}, {program}")
        }
        Some(Holder::Other { uid }) => match uid {
            0 => "a process of root".to_owned(),
            uid => format!("a process of user id {uid}"),
        },
        None => "a process that cannot be seen from here".to_owned(),
    };
    Some(
        Finding::new(ID, Level::Fatal, format!("{shown} is taken by {owner}"))
            .expected("a free port")
            .fix(format!(
                "stop that process, or choose another port, for example `--publish {}`",
                elsewhere(port)
            )),
    )
}

/// The finding about an address that this machine does not have, with those that it has.
fn elsewheres(machine: &Machine, port: &PortSpec) -> Finding {
    let addresses: Vec<_> = machine
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let ip = match port.ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let everywhere = PortSpec { ip, ..*port };
    let found = format!(
        "{} is to be published, but this machine has no address {}",
        shown(port),
        port.ip
    );
    Finding::new(ID, Level::Fatal, found)
        .expected(match addresses.as_slice() {
            [] => "an address of this machine".to_owned(),
            some => format!("one of {}", some.join(", ")),
        })
        .fix(format!(
            "publish it on an address of this machine, or on all its present and future addresses with `--publish {everywhere}`"
        ))
}

fn shown(port: &PortSpec) -> String {
    let address = SocketAddr::new(port.ip, port.port.get());
    format!("{address}/{}", port.proto.as_str())
}

/// The same address and protocol, with a port number ten thousand away.
fn elsewhere(port: &PortSpec) -> PortSpec {
    let number = port.port.get();
    let other = number
        .checked_add(10_000)
        .unwrap_or_else(|| number - 10_000);
    PortSpec {
        port: other.try_into().unwrap_or(port.port),
        ..*port
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Mine { pid: u32, program: String },
    Other { uid: u32 },
}

/// Looks through `/proc/net/{tcp,udp}{,6}` for the socket, and through the user's processes for its owner.
pub(super) fn holder(machine: &Machine, port: &PortSpec) -> Option<Holder> {
    let (inode, uid) = sockets(machine, port)?;
    let link = format!("socket:[{inode}]");
    match machine.own_files(|target| target == link).next() {
        Some((pid, dir)) => {
            let program = fs_err::read_link(dir.join("exe"))
                .ok()?
                .display()
                .to_string();
            let program = program.trim_end_matches(" (deleted)").to_owned();
            Some(Holder::Mine { pid, program })
        }
        None => Some(Holder::Other { uid }),
    }
}

/// Inode and user id of the socket that has taken the port. Columns by the kernel's `Documentation/networking/proc_net_tcp.rst`:
/// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode`.
fn sockets(machine: &Machine, port: &PortSpec) -> Option<(u64, u32)> {
    let proto = port.proto.as_str();
    // The states of a listening TCP socket and of a bound UDP socket: the kernel's TCP_LISTEN and TCP_CLOSE.
    let state = if port.proto == Proto::Tcp { "0A" } else { "07" };
    let files = [format!("/proc/net/{proto}"), format!("/proc/net/{proto}6")];
    let lines = files.iter().filter_map(|file| machine.read(file));
    let lines: Vec<String> = lines
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.iter().find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (address, number) = columns.get(1)?.split_once(':')?;
        let here = columns.get(3) == Some(&state)
            && u16::from_str_radix(number, 16) == Ok(port.port.get())
            && in_the_way(address, port);
        here.then(|| Some((columns.get(9)?.parse().ok()?, columns.get(7)?.parse().ok()?)))?
    })
}

/// Whether a socket bound to this address keeps ours from being bound. Addresses are written as numbers of 32 bits in the
/// machine's byte order, an IPv6 address as four of them. A socket that takes every IPv6 address may take IPv4 ones, too.
fn in_the_way(address: &str, port: &PortSpec) -> bool {
    let octets = |number: &str| Some(u32::from_str_radix(number, 16).ok()?.to_ne_bytes());
    let numbers = (0..address.len())
        .step_by(8)
        .map(|at| octets(address.get(at..at + 8)?));
    let bytes: Vec<u8> = numbers.flatten().flatten().collect();
    let Some(bound) = <[u8; 4]>::try_from(bytes.as_slice())
        .map(IpAddr::from)
        .ok()
        .or_else(|| {
            <[u8; 16]>::try_from(bytes.as_slice())
                .map(IpAddr::from)
                .ok()
        })
    else {
        return false;
    };
    match (bound.to_canonical(), port.ip) {
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        (IpAddr::V6(bound), IpAddr::V4(_)) => bound.is_unspecified(),
        (bound, ours) => bound == ours || bound.is_unspecified() || ours.is_unspecified(),
    }
}

/// Ports that only root may take.
pub(super) fn privileged(machine: &Machine, config: &Config) -> Option<Finding> {
    let first = machine.number(FIRST_UNPRIVILEGED)?;
    let too_low = |port: &&PortSpec| u64::from(port.port.get()) < first;
    let ports = config.publish.iter().filter(too_low);
    let port = ports.min_by_key(|port| (config.api_port() != Some(port), port.port))?;
    let lowest = port.port.get();
    let finding = Finding::new(
        CheckId::PrivilegedPorts,
        Level::Fatal,
        format!("port {lowest} is to be published, but only root may use ports below {first}"),
    )
    .expected(format!("`{FIRST_UNPRIVILEGED}` at most {lowest}"))
    .fix(format!(
        "ask an administrator to run the commands below, or publish a port from {first} upwards"
    ))
    .admin(
        [
            format!("echo net.ipv4.ip_unprivileged_port_start={lowest} >{SYSCTL}"),
            format!("sysctl -q -p {SYSCTL}"),
        ],
        [
            format!("rm -f {SYSCTL}"),
            format!("sysctl -q -w net.ipv4.ip_unprivileged_port_start={first}"),
        ],
    );
    Some(finding.weighed(config, port))
}
