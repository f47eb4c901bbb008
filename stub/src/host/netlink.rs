//! Asks the kernel to make devices and chains in this process's network namespace, by netlink (netlink(7), rtnetlink(7),
//! `linux/netfilter/nf_tables.h`). Each answer is success or the number of an error.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
    socket_with,
};

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`, which reports success as well.
const ERROR: u16 = 2;
const NESTED: u16 = 0x8000;

/// Makes a network device of this kind.
pub(super) fn device(kind: &str) -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const IFLA_VXLAN_ID: u16 = 1;
    let mut info = attribute(IFLA_INFO_KIND, &text(kind));
    if kind == "vxlan" {
        let id = attribute(IFLA_VXLAN_ID, &1u32.to_ne_bytes());
        info.extend(attribute(IFLA_INFO_DATA, &id));
    }
    // `struct ifinfomsg`: any family, type, index and flags.
    let mut body = vec![0; 16];
    body.extend(attribute(IFLA_LINKINFO, &info));
    let flags = REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE;
    // No protocol is NETLINK_ROUTE.
    ask(None, &message(RTM_NEWLINK, flags, &body))
}

/// Gives the loopback device this address, for this address alone. Does nothing if it has it.
pub(crate) fn add_address(address: Ipv4Addr) -> io::Result<()> {
    const RTM_NEWADDR: u16 = 20;
    const IPV4: u8 = 2;
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    /// The loopback device is the first one of every network namespace.
    const LOOPBACK: u32 = 1;
    const REPLACE: u16 = 0x100;
    // `struct ifaddrmsg`: family, length of the prefix, flags, scope, index.
    let mut body = vec![IPV4, 32, 0, 0];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(attribute(IFA_LOCAL, &address.octets()));
    body.extend(attribute(IFA_ADDRESS, &address.octets()));
    let flags = REQUEST | ACKNOWLEDGE | CREATE | REPLACE;
    ask(None, &message(RTM_NEWADDR, flags, &body))
}

/// Makes a chain in which addresses can be translated.
pub(super) fn nat_chain() -> io::Result<()> {
    chain("nat")
}

/// Makes a chain of this type for packets that leave.
fn chain(kind: &str) -> io::Result<()> {
    const BATCH_BEGIN: u16 = 0x10;
    const BATCH_END: u16 = 0x11;
    const NF_TABLES: u16 = 10;
    const NEW_TABLE: u16 = NF_TABLES << 8;
    const NEW_CHAIN: u16 = NF_TABLES << 8 | 3;
    const IPV4: u8 = 2;
    const POSTROUTING: u32 = 4;
    const SOURCE_NAT: u32 = 100;
    let name = text("usernetes-probe");
    // `struct nfgenmsg`: family, version, and for a batch its subsystem.
    let [high, low] = NF_TABLES.to_be_bytes();
    let (batch, ipv4) = ([0, 0, high, low], [IPV4, 0, 0, 0]);
    let table = [&ipv4[..], &attribute(1, &name)].concat();
    let hook = [
        attribute(1, &POSTROUTING.to_be_bytes()),
        attribute(2, &SOURCE_NAT.to_be_bytes()),
    ];
    let chain = [
        &ipv4[..],
        &attribute(1, &name),
        &attribute(3, &name),
        &attribute(NESTED | 4, &hook.concat()),
        &attribute(7, &text(kind)),
    ];
    // Errors are reported in any case, so success of the last message is success of all.
    let messages = [
        message(BATCH_BEGIN, REQUEST, &batch),
        message(NEW_TABLE, REQUEST | CREATE, &table),
        message(NEW_CHAIN, REQUEST | CREATE | ACKNOWLEDGE, &chain.concat()),
        message(BATCH_END, REQUEST, &batch),
    ];
    ask(Some(netlink::NETFILTER), &messages.concat())
}

fn ask(protocol: Option<Protocol>, messages: &[u8]) -> io::Result<()> {
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::RAW, flags, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(10)))?;
    send(&socket, messages, SendFlags::empty())?;
    let mut buffer = [0; 8192];
    loop {
        let (read, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if let Some(answer) = answer(&buffer[..read]) {
            return answer;
        }
    }
}

/// The first answer in what the kernel sent: after the header of 16 bytes, the error's number as a negative one, or 0.
fn answer(sent: &[u8]) -> Option<io::Result<()>> {
    let number = |at: usize| Some(u32::from_ne_bytes(sent.get(at..at + 4)?.try_into().ok()?));
    let mut at = 0;
    loop {
        let length = number(at)? as usize;
        let kind = u16::from_ne_bytes(sent.get(at + 4..at + 6)?.try_into().ok()?);
        if kind == ERROR {
            return Some(match number(at + 16)?.cast_signed() {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error.saturating_neg())),
            });
        }
        // A length of 0 would make this loop endless.
        at += length.max(16).next_multiple_of(4);
    }
}

/// A text in netlink's form, with a zero byte at its end.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// `struct nlattr`: length, type, value, padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `struct nlmsghdr`: length, type, flags, sequence number, port; and the body, which needs no padding.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let error = |number: i32| message(ERROR, 0, &number.to_ne_bytes());
        assert!(answer(&error(0)).unwrap().is_ok());
        let refused = answer(&error(-95)).unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        // Another message comes first.
        let both = [message(3, 0, &[]), error(-1)].concat();
        assert_eq!(answer(&both).unwrap().unwrap_err().raw_os_error(), Some(1));
        assert!(answer(&message(3, 0, &[])).is_none());
        assert!(answer(&[0; 40]).is_none());
    }

    /// Only root may make a network namespace for a thread alone. The integration tests ask as other users do.
    #[test]
    fn what_no_kernel_has() {
        let ask = || {
            #[expect(deprecated, reason = "what became unsafe about it is the flag FILES")]
            let unshared = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
            unshared.ok()?;
            Some((device("usernetes-none"), chain("usernetes-none")))
        };
        if let Some((device, chain)) = std::thread::spawn(ask).join().unwrap() {
            assert_eq!(device.unwrap_err().kind(), io::ErrorKind::Unsupported);
            assert!(chain.is_err());
        }
    }

    #[test]
    fn values_are_padded_but_not_counted_longer() {
        assert_eq!(attribute(1, b"abc\0\0").len(), 12);
        assert_eq!(attribute(1, b"abc\0\0")[..2], 9u16.to_ne_bytes());
    }
}
