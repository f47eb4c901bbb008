//! The services.

use super::ini::{Unit, command, word};
use super::{DOCUMENTATION, daemons, home, unit_name};
use crate::components::Daemon;
use crate::config::{Config, Cri};
use crate::layout::Layout;

/// The unit of a daemon.
pub(super) fn service(daemon: Daemon, config: &Config, layout: &Layout, systemd: u32) -> Unit {
    let names = |daemons: &[Daemon]| -> Vec<String> {
        let exists = super::daemons(config);
        let existing = daemons.iter().filter(|d| exists.contains(d));
        existing.map(|d| unit_name(*d, config.cri)).collect()
    };
    let unit = Unit::default()
        .section("Unit")
        .key("Description", description(daemon, config.cri))
        .key("Documentation", DOCUMENTATION)
        .key("PartOf", home(daemon))
        .list("BindsTo", &names(bound_to(daemon)))
        .list("Wants", &names(wants(daemon)))
        .list("After", &names(after(daemon)))
        .key("StartLimitIntervalSec", 0)
        .section("Service")
        .key("Type", if notifies(daemon) { "notify" } else { "exec" })
        // Messages come from a child of ours: the launcher, or RootlessKit, stays the main process.
        .key("NotifyAccess", "all");
    // The session that installs may have other directories in its environment than the service manager.
    let variables = layout
        .xdg_bases()
        .map(|(name, path)| word(&format!("{name}={}", path.display())));
    let program = layout.program("usernetes");
    let unit = unit
        .key("ExecStart", command(&program, &["boot", daemon.as_str()]))
        .key("Environment", variables.join(" "))
        .key("SyslogIdentifier", format!("u7s-{}", daemon.as_str()))
        .key("Restart", "always");
    let unit = restart_delay(unit, systemd)
        .key("SuccessExitStatus", clean_exits(daemon))
        // Minutes, because etcd and the API server need one on a slow machine.
        .key("TimeoutStartSec", "5min")
        .key("TimeoutStopSec", stop_timeout(daemon))
        // The launcher passes SIGTERM on; sent to the whole group it would also hit pods and slirp4netns.
        .key("KillMode", "mixed")
        .key("LimitNOFILE", "65536:524288");
    if daemon == Daemon::Rootlesskit {
        // Pods live in cgroups below this unit's. One that runs out of memory must not end the cluster.
        unit.key("Delegate", "yes")
            .key("TasksMax", "infinity")
            .key("OOMPolicy", "continue")
    } else {
        unit
    }
}

/// systemd 254 lets the delay grow. It never forgets the number of restarts, so the longest delay is one that a person
/// can wait for.
fn restart_delay(unit: Unit, systemd: u32) -> Unit {
    if systemd >= 254 {
        unit.key("RestartSec", "1s")
            .key("RestartSteps", 8)
            .key("RestartMaxDelaySec", "15s")
    } else {
        unit.key("RestartSec", "3s")
    }
}

fn description(daemon: Daemon, cri: Cri) -> String {
    let what = match (daemon, cri) {
        (Daemon::Rootlesskit, Cri::Containerd) => "RootlessKit and containerd",
        (Daemon::Rootlesskit, Cri::Crio) => "RootlessKit and CRI-O",
        (Daemon::Rootlesskit, Cri::None) => "RootlessKit",
        (Daemon::Kubelet, Cri::Crio) => "kubelet on CRI-O",
        (Daemon::Kubelet, _) => "kubelet on containerd",
        _ => daemon.as_str(),
    };
    format!("Usernetes: {what}")
}

/// Whether it tells systemd when it is ready. Of those that do not, `boot` starts two after the API server's `/readyz`.
fn notifies(daemon: Daemon) -> bool {
    !matches!(
        daemon,
        Daemon::KubeControllerManager | Daemon::KubeScheduler | Daemon::KubeProxy
    )
}

fn bound_to(daemon: Daemon) -> &'static [Daemon] {
    match daemon {
        Daemon::Rootlesskit => &[],
        _ => &[Daemon::Rootlesskit],
    }
}

fn wants(daemon: Daemon) -> &'static [Daemon] {
    match daemon {
        Daemon::KubeApiserver => &[Daemon::Etcd],
        _ => &[],
    }
}

/// What starts before and ends after it.
fn after(daemon: Daemon) -> &'static [Daemon] {
    use Daemon::{Etcd, KubeApiserver, KubeControllerManager, KubeScheduler, Kubelet, Rootlesskit};
    match daemon {
        Rootlesskit => &[],
        Etcd => &[Rootlesskit],
        KubeApiserver => &[Rootlesskit, Etcd],
        KubeControllerManager | KubeScheduler => &[Rootlesskit, KubeApiserver],
        Kubelet | Daemon::KubeProxy => &[
            Rootlesskit,
            KubeApiserver,
            KubeControllerManager,
            KubeScheduler,
        ],
        // It gives up while the kubelet has not registered the node.
        Daemon::Flanneld => &[Rootlesskit, KubeApiserver, Kubelet],
    }
}

/// Besides 0 and death by SIGTERM: 143 is how a parent reports the latter. The scheduler ends with 1 when it is told to stop
/// and does without leader election.
fn clean_exits(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::KubeScheduler => "1 143",
        _ => "143",
    }
}

/// How long it may take to end before it is killed. In sum less than the 90 seconds a machine that shuts down allows.
fn stop_timeout(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Rootlesskit => "20s",
        Daemon::KubeApiserver => "15s",
        _ => "10s",
    }
}

/// The services a target is made of.
pub(super) fn members(target: crate::config::Target, config: &Config) -> Vec<String> {
    let daemons = daemons(config).into_iter();
    daemons
        .filter(|d| *d != Daemon::Rootlesskit && home(*d) == target)
        .map(|d| unit_name(d, config.cri))
        .collect()
}
