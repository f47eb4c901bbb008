//! The network between this machine and the guests: a bridge in a network namespace of its own, and a tap device for each guest.
//! There is no way out of it.

use std::process::Command;

use crate::{Result, check};

/// This machine's address on the bridge.
const HOST: &str = "10.0.2.2/24";
const BRIDGE: &str = "bridge";

/// Where a guest is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u8);

impl Place {
    /// That of the guest that scenarios share.
    pub const SHARED: Self = Self(15);

    /// That of one of several guests.
    pub fn of(number: usize) -> Self {
        Self(16 + u8::try_from(number).unwrap_or(u8::MAX - 16))
    }

    /// Its address.
    pub fn address(self) -> String {
        format!("10.0.2.{}", self.0)
    }

    /// The address of its network card.
    pub fn hardware(self) -> String {
        format!("52:54:00:12:34:{:02x}", self.0)
    }

    /// The device at this end.
    pub fn tap(self) -> String {
        format!("tap{}", self.0)
    }
}

/// The namespace. It goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    namespace: String,
}

impl Network {
    pub fn make() -> Result<Self> {
        let namespace = format!("usernetes-vm-{}", std::process::id());
        check(Command::new("ip").args(["netns", "add", &namespace]))?;
        let network = Self { namespace };
        network.ip(&["link", "set", "lo", "up"])?;
        network.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        network.ip(&["address", "add", HOST, "dev", BRIDGE])?;
        network.ip(&["link", "set", BRIDGE, "up"])?;
        Ok(network)
    }

    /// Makes the device of a guest, unless it is there.
    pub fn add(&self, place: Place) -> Result<()> {
        let tap = place.tap();
        let there = Command::new("ip")
            .args(["-n", &self.namespace, "link", "show", &tap])
            .output()
            .is_ok_and(|output| output.status.success());
        if there {
            return Ok(());
        }
        self.ip(&["tuntap", "add", "dev", &tap, "mode", "tap"])?;
        self.connect(place)
    }

    /// Lets a guest reach the others, and this machine reach it.
    pub fn connect(&self, place: Place) -> Result<()> {
        self.ip(&["link", "set", &place.tap(), "master", BRIDGE, "up"])
    }

    /// Takes a guest off the network. It does not see that its cable is out.
    pub fn cut(&self, place: Place) -> Result<()> {
        self.ip(&["link", "set", &place.tap(), "nomaster"])
    }

    /// The words before those of a command that is to run in the namespace.
    pub fn enter(&self) -> [String; 4] {
        ["ip", "netns", "exec", &self.namespace].map(str::to_owned)
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        check(
            Command::new("ip")
                .args(["-n", self.namespace.as_str()])
                .args(words),
        )
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.namespace])
            .status();
    }
}
