//! The addresses at which other machines may reach this one.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};

use super::Machine;
use super::routes::{ROUTES, Route};

/// Beginnings of the names of interfaces that programs make for their own guests, containers and tunnels. They come and
/// go, and no other machine reaches this one at their addresses.
const OTHERS: [&str; 17] = [
    "br-", "cali", "cilium", "cni", "docker", "flannel", "incusbr", "lxcbr", "lxdbr", "podman",
    "tap", "tun", "vboxnet", "veth", "virbr", "vmnet", "vnet",
];

/// An address that no machine has (RFC 5737, TEST-NET-1), so that the default route leads there.
pub const ELSEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address with which this machine reaches another one. It is read from a connected UDP socket, which sends nothing.
///
/// # Errors
/// Those of the kernel, if no route leads there.
pub fn address_towards(other: SocketAddrV4) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(other)?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

impl Machine {
    /// The addresses other machines may reach this one at: its own except those of the loopback interface and of
    /// interfaces that other programs make for themselves, IPv4 first, in ascending order.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let (ipv4, ipv6) = (self.ipv4(), self.ipv6());
        ipv4.map(IpAddr::V4).chain(ipv6.map(IpAddr::V6)).collect()
    }

    /// The routing table lists addresses as `|-- address` followed by `/32 host LOCAL`.
    fn ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        let text = self.read("/proc/net/fib_trie").unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let local = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
        let addresses = local.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok());
        let routes = self.read(ROUTES).unwrap_or_default();
        let routes: Vec<_> = routes.lines().skip(1).filter_map(Route::parse).collect();
        let addresses: Vec<Ipv4Addr> = addresses.collect();
        addresses
            .into_iter()
            .filter(move |address| !address.is_loopback() && !is_others(&routes, *address))
    }

    /// A line of `/proc/net/if_inet6` is `address index prefix scope flags interface`, all but the last in hexadecimal. Scope
    /// 0 is the world.
    fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let text = self.read("/proc/net/if_inet6").unwrap_or_default();
        let address = |line: &str| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let global = columns.get(3) == Some(&"00");
            let address = u128::from_str_radix(columns.first()?, 16).ok()?;
            (global && !is_named_by_others(columns.get(5)?)).then(|| Ipv6Addr::from(address))
        };
        let addresses: Vec<_> = text.lines().filter_map(address).collect();
        addresses.into_iter()
    }
}

/// Whether an address belongs to an interface that another program made. The interface is that of the
/// smallest network which contains the address; an address with a network of its own has none.
fn is_others(routes: &[Route], address: Ipv4Addr) -> bool {
    let holding = routes
        .iter()
        .filter(|route| route.direct && route.network.contains(address));
    let interface = holding.max_by_key(|route| route.network.prefix());
    interface.is_some_and(|route| is_named_by_others(&route.interface))
}

fn is_named_by_others(interface: &str) -> bool {
    OTHERS.iter().any(|name| interface.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;

    #[test]
    fn bridges_of_others_are_no_addresses() {
        let host = |address: &str| format!("     |-- {address}\n        /32 host LOCAL\n");
        let trie = [
            "127.0.0.1",
            "10.1.2.3",
            "172.17.0.1",
            "172.18.0.1",
            "192.168.122.1",
            "10.8.0.6",
            "100.64.0.9",
        ]
        .map(host)
        .concat();
        // Destination, gateway and mask in the byte order of this machine.
        let hex = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let route = |interface: &str, to: [u8; 4], gateway: [u8; 4], mask: [u8; 4]| {
            let (to, gateway, mask) = (hex(to), hex(gateway), hex(mask));
            format!("{interface}\t{to}\t{gateway}\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n")
        };
        let none = [0; 4];
        let routes = [
            "Iface\tDestination\n".to_owned(),
            route("eth0", none, [10, 1, 0, 1], none),
            route("eth0", [10, 1, 0, 0], none, [255, 255, 0, 0]),
            route("docker0", [172, 17, 0, 0], none, [255, 255, 0, 0]),
            route("br-1a2b3c4d5e6f", [172, 18, 0, 0], none, [255, 255, 0, 0]),
            route("virbr0", [192, 168, 122, 0], none, [255, 255, 255, 0]),
            route("tun0", [10, 8, 0, 0], none, [255, 255, 255, 0]),
            // The network behind a tunnel is not the tunnel's own.
            route("tun0", [10, 0, 0, 0], [10, 8, 0, 1], [255, 0, 0, 0]),
        ];
        let ipv6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fe800000000000000000000000000007 02 40 20 80     eth0\n\
            20010db8000000000000000000000007 02 40 00 80     eth0\n\
            fd000000000000000000000000000001 03 40 00 80  docker0\n";
        let (_dir, m) = machine(&[
            ("/proc/net/if_inet6", ipv6),
            ("/proc/net/fib_trie", trie.as_str()),
            ("/proc/net/route", &routes.concat()),
        ]);
        let addresses: Vec<_> = m.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.1.2.3", "100.64.0.9", "2001:db8::7"]);
    }
}
