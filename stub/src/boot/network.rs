//! The way out of the namespaces. RootlessKit does not notice when slirp4netns ends; but the device between them then loses
//! its carrier, as if a cable were pulled.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, bind, recv, socket};

use super::cri::Watch;
use crate::error::{Context, Error, Kind, Result};

/// Says `1` while slirp4netns holds its end of the device (Documentation/ABI/testing/sysfs-class-net).
const CARRIER: &str = "/sys/class/net/tap0/carrier";
/// The protocol for devices, addresses and routes has the number 0, which is how the system call is told none.
const NETLINK_ROUTE: Option<Protocol> = None;
/// The multicast group of news about devices, `RTMGRP_LINK` (rtnetlink(7)).
const LINKS: u32 = 1;

/// Returns when slirp4netns is gone.
pub(super) fn watch() -> Result<Watch> {
    // From here on, so that nothing is missed.
    let news = socket(AddressFamily::NETLINK, SocketType::RAW, NETLINK_ROUTE)
        .and_then(|news| bind(&news, &SocketAddrNetlink::new(0, LINKS)).map(|()| news))
        .map_err(std::io::Error::from)
        .about(|| "listening to the kernel's news about network devices")?;
    Ok(Box::new(move || {
        while connected() {
            // What the news is does not matter, nor that some got lost because too much came at once.
            match recv(
                &news,
                spare_capacity(&mut Vec::with_capacity(4096)),
                RecvFlags::empty(),
            ) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(error) => {
                    return Error::from(std::io::Error::from(error))
                        .about("the kernel's news about network devices");
                }
            }
        }
        Error::new(
            Kind::Failed,
            "slirp4netns ended: the namespaces have no network",
        )
    }))
}

fn connected() -> bool {
    fs_err::read_to_string(CARRIER).is_ok_and(|carrier| carrier.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_the_end_of_the_network() {
        let watch = watch().unwrap();
        // No machine has the device outside of the namespaces, except one with a network of that very kind.
        if !connected() {
            assert!(watch().message().contains("slirp4netns ended"));
        }
    }
}
