//! Certificates that are new while nothing else is.

use crate::config::Config;
use crate::error::Result;
use crate::manager::Manager;
use crate::pki::Report;
use crate::services::{Services, UnitName};
use crate::systemd::Unit;

/// Restarts those of the running services that use new certificates and do not look for them by themselves. Pods and
/// RootlessKit go on running.
pub(crate) fn restart_users(manager: &dyn Manager, config: &Config, report: &Report) -> Result<()> {
    let names = users(config, report);
    if names.is_empty() {
        return Ok(());
    }
    let units = manager.units(&names)?;
    let running: Vec<_> = units
        .iter()
        .filter(|u| !u.is_stopped())
        .map(Unit::name)
        .collect();
    if running.is_empty() {
        return Ok(());
    }
    manager.restart(&running)
}

/// The units of the services that read something new only when they start.
fn users(config: &Config, report: &Report) -> Vec<UnitName> {
    let is_new = |file: &&str| report.made.iter().any(|made| made.file.ends_with(file));
    let services = Services::of(config);
    let users = services
        .iter()
        .filter(|service| service.row().reads_at_start.iter().any(&is_new));
    users.map(|service| services.unit(service)).collect()
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
            let names = users(&config, &report).into_iter();
            names.map(|name| name.to_string()).collect::<Vec<_>>()
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
