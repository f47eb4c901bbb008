//! The way out of the namespaces. RootlessKit does not notice when slirp4netns ends; the kernel then removes the device
//! slirp4netns had made.

use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, bind, recv, socket};

use super::cri::Watch;
use crate::error::{Context, Error, Kind, Result};

/// The device, as the kernel shows it.
const DEVICE: &str = "/sys/class/net/tap0";
/// The protocol for devices, addresses and routes has the number 0, which is how the system call is told none.
const NETLINK_ROUTE: Option<Protocol> = None;
/// The multicast group of news about devices, `RTMGRP_LINK` (rtnetlink(7)).
const LINKS: u32 = 1;

/// Returns when the device is gone.
pub(super) fn watch() -> Result<Watch> {
    // From here on, so that nothing is missed.
    let news = socket(AddressFamily::NETLINK, SocketType::RAW, NETLINK_ROUTE)
        .and_then(|news| bind(&news, &SocketAddrNetlink::new(0, LINKS)).map(|()| news))
        .map_err(std::io::Error::from)
        .about(|| "listening to the kernel's news about network devices")?;
    Ok(Box::new(move || {
        while Path::new(DEVICE).exists() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_the_end_of_the_network() {
        let watch = watch().unwrap();
        // No machine has the device outside of the namespaces, except one with a network of that very kind.
        if !Path::new(DEVICE).exists() {
            assert!(watch().message().contains("slirp4netns ended"));
        }
    }
}
