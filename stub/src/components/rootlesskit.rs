//! RootlessKit and its network driver, which create the namespaces that everything else runs in.

use std::path::PathBuf;

use crate::config::{Config, NetworkDriver};
use crate::layout::Layout;
use crate::protocol;
use crate::render::Args;

/// The cgroup, below that of the unit, that RootlessKit moves all processes into: a cgroup that passes controllers on to
/// cgroups below it must not contain processes itself.
pub const EVACUATED: &str = "rootlesskit_evac";

/// The path by which RootlessKit starts pasta as its slirp4netns. It is this program under another name, see
/// [`driver`](crate::driver).
#[must_use]
pub fn pasta(layout: &Layout) -> PathBuf {
    layout.runtime(protocol::PASTA_AS_SLIRP4NETNS)
}

/// RootlessKit's command line, to which the program that runs inside must be appended. RootlessKit publishes the API
/// server's port before it starts that program. If this port is taken, it fails with a message that names the port. All
/// other ports are the business of the service `ports`, so that whoever takes one of them does not stop the cluster.
/// `divides` says whether the cgroup in which it starts can be divided.
#[must_use]
pub fn args(layout: &Layout, config: &Config, divides: bool) -> Vec<String> {
    let mut args = Args::of(layout, "rootlesskit")
        .path("state-dir", layout.rootlesskit())
        .flag("net", "slirp4netns");
    args = match config.network.driver {
        NetworkDriver::Slirp4netns => args
            .path("slirp4netns-binary", layout.program("slirp4netns"))
            .flag("slirp4netns-sandbox", true)
            .flag("slirp4netns-seccomp", true),
        // It has a sandbox and a filter of system calls that cannot be turned off.
        NetworkDriver::Pasta => args.path("slirp4netns-binary", pasta(layout)),
    };
    args = args
        .flag("cidr", config.network.rootlesskit)
        .flag("mtu", config.network.mtu)
        // Programs that listen only on the host's loopback interface are not meant to be reached by pods.
        .flag("disable-host-loopback", true)
        .flag("port-driver", "builtin");
    if let Some(port) = config.api_port() {
        args = args.flag("publish", port.for_rootlesskit(config.node_ip()));
    }
    for directory in ["/etc", "/run", "/var/lib", "/opt"] {
        args = args.flag("copy-up", directory);
    }
    args = args
        .flag("propagation", "rslave")
        .flag("cgroupns", true)
        .flag("pidns", true)
        .flag("ipcns", true)
        .flag("utsns", true);
    if divides {
        args = args.flag("evacuate-cgroup2", EVACUATED);
    }
    args.0
}
