//! RootlessKit and slirp4netns: the user, network, process and mount namespaces everything else runs in.

use crate::config::Config;
use crate::layout::Layout;
use crate::render::Args;

/// The cgroup below the unit's own into which processes are moved, because a cgroup with children cannot hold any.
pub const EVACUATED: &str = "rootlesskit_evac";

/// The largest MTU that slirp4netns has: there is no wire whose frames must be small.
const MTU: u32 = 65520;

/// Its command line, to which the program that runs inside must be appended. The ports of the configuration are
/// published before that program starts; a port that is taken makes RootlessKit fail and name it. `divides` says whether
/// the cgroup it is started in may be divided.
#[must_use]
pub fn args(layout: &Layout, config: &Config, divides: bool) -> Vec<String> {
    let mut args = Args::of(layout, "rootlesskit")
        .path("state-dir", layout.rootlesskit())
        .flag("net", "slirp4netns")
        .path("slirp4netns-binary", layout.program("slirp4netns"))
        .flag("slirp4netns-sandbox", true)
        .flag("slirp4netns-seccomp", true)
        .flag("cidr", config.network.rootlesskit)
        .flag("mtu", MTU)
        // What listens on the host's loopback interface was not meant for pods.
        .flag("disable-host-loopback", true)
        .flag("port-driver", "builtin");
    for port in &config.publish {
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
