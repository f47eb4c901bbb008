//! The systemd user units of a generation.
//!
//! Four facts shape them, all seen with real components:
//!
//! * systemd stops units in the reverse of their start order, so `After=` is written for the stop too: the kubelet and
//!   kube-proxy end before the controller manager and the scheduler, those before the API server, that before etcd,
//!   and RootlessKit, whose end kills whatever is left in its namespaces, comes last. That the kubelet starts after
//!   the API server costs nothing: it could only fail to reach it, and back off.
//! * `BindsTo=` stops everything when RootlessKit dies, and `systemctl restart u7s-rootlesskit` restarts everything.
//!   After a crash only `Upholds=` in the targets brings the others back; the targets stay active meanwhile.
//! * Targets want their services instead of requiring them: with `Requires=`, one service that crashes takes its
//!   target down, and the target all the others.
//! * A start limit would end in units that stay dead while their targets try to start them again and again. So there is
//!   none; instead the delay between attempts grows. RootlessKit's cannot: whoever is upheld asks for it at once. So
//!   its launcher takes its time to fail, see [`HOLD_OFF`].

mod ini;
mod service;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::components::Daemon;
use crate::config::{Cni, Config, Cri, Target};
use crate::layout::Layout;

/// How long after its start `boot rootlesskit` may fail at the earliest. It waits for the rest, unless it is told to stop.
///
/// While it starts or stops, everything that needs it waits. Without the delay a RootlessKit that cannot start was tried 100 times a
/// minute, which left 1850 lines in the log (systemd 257); with it 6 times and 120 lines.
pub const HOLD_OFF: Duration = Duration::from_secs(10);

/// Where to read more.
const DOCUMENTATION: &str = "https://github.com/rootless-containers/usernetes";

/// File names and texts of all units of a generation, which the configuration needs.
///
/// `systemd` is the version of the running systemd, such as 257: an older one does not know every key, and would warn.
#[must_use]
pub fn units(config: &Config, layout: &Layout, systemd: u32) -> BTreeMap<String, String> {
    let daemons = daemons(config);
    let services = daemons.iter().map(|daemon| {
        let text = service::service(*daemon, config, layout, systemd);
        (unit_name(*daemon, config.cri), text.to_string())
    });
    let targets = Target::ALL.iter().filter_map(|target| {
        let text = target::target(*target, config)?;
        Some((target.to_string(), text.to_string()))
    });
    services.chain(targets).collect()
}

/// The names of every unit that any configuration makes, for whoever must find those of an earlier one.
#[must_use]
pub fn all_names() -> BTreeSet<String> {
    let services = Cri::ALL
        .iter()
        .flat_map(|cri| Daemon::ALL.map(|daemon| unit_name(daemon, *cri)));
    let targets = Target::ALL
        .iter()
        .filter(|target| **target != Target::Nothing)
        .map(Target::to_string);
    services.chain(targets).collect()
}

/// The unit of a daemon. The kubelet's says which container runtime it uses.
#[must_use]
pub fn unit_name(daemon: Daemon, cri: Cri) -> String {
    match (daemon, cri) {
        (Daemon::Kubelet, Cri::Crio) => "u7s-kubelet-crio.service".to_owned(),
        (Daemon::Kubelet, _) => "u7s-kubelet-containerd.service".to_owned(),
        _ => format!("u7s-{}.service", daemon.as_str()),
    }
}

/// The daemons that the configuration needs, in the order they start.
#[must_use]
pub fn daemons(config: &Config) -> Vec<Daemon> {
    Daemon::ALL
        .into_iter()
        .filter(|daemon| match daemon {
            Daemon::Kubelet | Daemon::KubeProxy => config.cri != Cri::None,
            Daemon::Flanneld => config.cri != Cri::None && config.cni == Cni::Flannel,
            _ => true,
        })
        .collect()
}

/// The target a daemon belongs to, which starts it again when it ends. Nothing does that for RootlessKit but those who need it.
pub(crate) fn home(daemon: Daemon) -> Target {
    match daemon {
        // It serves whatever is up, and is stopped with everything.
        Daemon::Rootlesskit => Target::All,
        Daemon::Etcd => Target::Etcd,
        Daemon::KubeApiserver | Daemon::KubeControllerManager | Daemon::KubeScheduler => {
            Target::Master
        }
        Daemon::Kubelet | Daemon::KubeProxy | Daemon::Flanneld => Target::Node,
    }
}

#[cfg(test)]
mod tests;
