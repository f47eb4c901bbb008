//! The names of the checks.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! checks {
    ($($(#[$about:meta])* $variant:ident = $text:literal,)*) => {
        /// The name of a check. Scripts may rely on its text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CheckId {
            $($(#[$about])* $variant,)*
        }

        impl CheckId {
            /// Its text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

checks! {
    /// An ordinary user with a name.
    User = "user",
    /// The directory of the login session.
    RuntimeDir = "runtime-dir",
    /// The user's service manager.
    SystemdUser = "systemd-user",
    /// Units that outlive the login.
    Linger = "linger",
    /// The name of this machine in the cluster.
    NodeName = "node-name",
    /// cgroup v2.
    CgroupV2 = "cgroup-v2",
    /// The cgroup controllers that the user may use.
    CgroupControllers = "cgroup-controllers",
    /// The cgroup in which `usernetes run` was started.
    CgroupDelegation = "cgroup-delegation",
    /// The program that maps user ids.
    Newuidmap = "newuidmap",
    /// The program that maps group ids.
    Newgidmap = "newgidmap",
    /// Subordinate user ids.
    Subuid = "subuid",
    /// Subordinate group ids.
    Subgid = "subgid",
    /// User namespaces.
    UserNamespaces = "user-namespaces",
    /// The network devices and rules that the kernel can make.
    KernelNetwork = "kernel-network",
    /// The device for the network of the namespaces.
    Tun = "tun",
    /// The program for the network of the namespaces, if it is not the usual one.
    NetworkDriver = "network-driver",
    /// The device for file systems in user space.
    Fuse = "fuse",
    /// How many files can be watched.
    Inotify = "inotify",
    /// The file system of programs and data.
    DataDir = "data-dir",
    /// The directory of configuration and keys.
    ConfigDir = "config-dir",
    /// The characters of paths.
    Paths = "paths",
    /// The length of the paths of sockets.
    Sockets = "sockets",
    /// The ports to publish.
    Ports = "ports",
    /// Ports that only root may use.
    PrivilegedPorts = "privileged-ports",
    /// Networks that the machine reaches already.
    Networks = "networks",
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
