//! Certificates that are new while nothing else is.

use crate::components::Daemon;
use crate::config::Config;
use crate::error::Result;
use crate::pki::{MASTER, NODE, Report};
use crate::systemd::{Systemd, Unit};
use crate::units;

/// Restarts those of the running services that use new certificates and do not look for them by themselves. Pods and
/// RootlessKit go on running.
pub(super) fn restart_users(systemd: &Systemd, config: &Config, report: &Report) -> Result<()> {
    let names = users(config, report);
    if names.is_empty() {
        return Ok(());
    }
    let units = systemd.units(&names)?;
    let running: Vec<_> = units
        .iter()
        .filter(|u| !u.is_stopped())
        .map(Unit::name)
        .collect();
    if running.is_empty() {
        return Ok(());
    }
    systemd.run(["restart"].into_iter().chain(running))
}

/// The units of the services that read something new only when they start. etcd reads its certificates for every
/// connection, the API server all of its own whenever they change.
fn users(config: &Config, report: &Report) -> Vec<String> {
    let reads = |daemon: &Daemon| match daemon {
        Daemon::Rootlesskit | Daemon::Etcd | Daemon::KubeApiserver => &[][..],
        Daemon::KubeControllerManager => &[(MASTER, "kube-controller-manager.kubeconfig")],
        Daemon::KubeScheduler => &[(MASTER, "kube-scheduler.kubeconfig")],
        Daemon::Kubelet => &[(NODE, "node.kubeconfig"), (NODE, "node.pem")],
        Daemon::KubeProxy => &[(NODE, "kube-proxy.kubeconfig")],
        Daemon::Flanneld => &[(NODE, "flannel.kubeconfig")],
    };
    let is_new = |(dir, name): &(&str, &str)| {
        let mut made = report.made.iter();
        made.any(|made| made.file.parent() == Some(dir.as_ref()) && made.file.ends_with(name))
    };
    let daemons = units::daemons(config).into_iter();
    daemons
        .filter(|daemon| reads(daemon).iter().any(is_new))
        .map(|daemon| units::unit_name(daemon, config.cri))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cni;
    use crate::pki::Made;

    #[test]
    fn who_is_restarted_for_what() {
        let config = Config::new("n".parse().unwrap(), Cni::Flannel);
        let users = |files: &[&str]| {
            let made = files.iter().map(|file| Made {
                file: file.into(),
                reason: String::new(),
            });
            let made = made.collect();
            let report = Report {
                made,
                ..Report::default()
            };
            users(&config, &report)
        };
        let nobody: &[String] = &[];
        assert_eq!(
            users(&["master/kube-apiserver.pem", "master/etcd.pem"]),
            nobody
        );
        assert_eq!(users(&["master/admin-localhost.kubeconfig"]), nobody);
        assert_eq!(
            users(&["node/node.pem"]),
            ["u7s-kubelet-containerd.service"]
        );
        assert_eq!(
            users(&[
                "node/flannel.kubeconfig",
                "master/kube-scheduler.kubeconfig"
            ]),
            ["u7s-kube-scheduler.service", "u7s-flanneld.service"]
        );
    }
}
