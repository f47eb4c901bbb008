//! Watches the network driver, slirp4netns or pasta, which connects the namespaces to the host's network. RootlessKit does not
//! notice when it ends. But the network device between them then loses its carrier, as if a cable were pulled.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, bind, recv, socket};

use super::cri::Watch;
use crate::config::NetworkDriver;
use crate::error::{Context, Error, Kind, Result};

/// Contains `1` while the driver holds its end of the device (Documentation/ABI/testing/sysfs-class-net).
const CARRIER: &str = "/sys/class/net/tap0/carrier";
/// The netlink protocol for devices, addresses and routes. Its number is 0, which the library writes as `None`.
const NETLINK_ROUTE: Option<Protocol> = None;
/// The multicast group for changes of devices, `RTMGRP_LINK` (rtnetlink(7)).
const LINKS: u32 = 1;

/// Watches the network. The watch returns when the driver has ended.
pub(super) fn watch(driver: NetworkDriver) -> Result<Watch> {
    // The socket is opened before the first look at the device, so that no change is missed.
    let news = socket(AddressFamily::NETLINK, SocketType::RAW, NETLINK_ROUTE)
        .and_then(|news| bind(&news, &SocketAddrNetlink::new(0, LINKS)).map(|()| news))
        .map_err(std::io::Error::from)
        .about(|| "cannot listen for changes of network devices")?;
    Ok(Box::new(move || {
        while connected() {
            // The message itself does not matter, because the device is looked at again. So lost messages do not matter
            // either.
            match recv(
                &news,
                spare_capacity(&mut Vec::with_capacity(4096)),
                RecvFlags::empty(),
            ) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(error) => {
                    return Error::from(std::io::Error::from(error))
                        .about("cannot receive changes of network devices");
                }
            }
        }
        Error::new(
            Kind::Failed,
            format!("{driver} ended, so the namespaces have no network"),
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
    fn the_watch_returns_if_the_device_is_missing() {
        let watch = watch(NetworkDriver::Pasta).unwrap();
        // Outside the namespaces, only a machine that itself uses slirp4netns or the like has such a device.
        if !connected() {
            assert!(watch().message().contains("pasta ended"));
        }
    }
}
