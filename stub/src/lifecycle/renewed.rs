//! New certificates for a cluster that runs.

use std::time::SystemTime;

use crate::cluster::Current;
use crate::config::Config;
use crate::error::Result;
use crate::manager::{Manager, by_systemctl};
use crate::pki::{self, Ensured};
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName};
use crate::store::Store;
use crate::systemd::Unit;

/// Renews all certificates except those of the authorities. Afterwards they are on disk. With `restart`, restarts the
/// running services that use them; otherwise says how to do that.
pub fn renew(restart: bool, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    let ensured = pki::ensure(
        current.layout.config(),
        &current.pki_request(),
        pki::Renew::All,
        SystemTime::now(),
    )?;
    let is_certificate = |made: &&pki::Made| made.file.extension().is_some_and(|e| e == "pem");
    let number = ensured.made.iter().filter(is_certificate).count();
    progress.line(format!(
        "renewed {number} certificates; if you ran `usernetes kubeconfig merge`, run it again to update your kubeconfig"
    ));
    let names = readers(&current);
    // If systemd does not answer, any of them may be running.
    let asked = current.manager().and_then(|m| Ok((m.units(&names)?, m)));
    let (running, manager): (Vec<String>, _) = match asked {
        Ok((units, manager)) => {
            let running = units.iter().filter(|u| !u.is_stopped()).map(Unit::name);
            (running.map(str::to_owned).collect(), Some(manager))
        }
        Err(error) if restart => return Err(error),
        Err(_) => (names.iter().map(ToString::to_string).collect(), None),
    };
    let names: Vec<_> = running.iter().map(String::as_str).collect();
    match manager {
        _ if running.is_empty() => progress.line(
            "no service that uses certificates is running; they use the new ones when they start",
        ),
        Some(manager) if restart => {
            manager.restart(&names)?;
            progress.line(format!("restarted {}", names.join(" ")));
        }
        manager => {
            let by_hand = manager.map_or_else(
                || by_systemctl("restart", &names),
                |manager| manager.restart_by_hand(&names),
            );
            progress.line(format!(
                "running services keep using the old certificates; to restart them without stopping pods:\n  {by_hand}"
            ));
        }
    }
    Ok(())
}

/// The units of the services that read certificates when they start: all but RootlessKit's.
fn readers(current: &Current) -> Vec<UnitName> {
    let services = Services::of(&current.config);
    let readers = services.iter().filter(|s| *s != Service::Rootlesskit);
    readers.map(|s| services.unit(s)).collect()
}

/// Restarts those running services that use new certificates and read them only when they start. Pods and RootlessKit keep
/// running.
pub(crate) fn restart_users(
    manager: &dyn Manager,
    config: &Config,
    ensured: &Ensured,
) -> Result<()> {
    let names = users(config, ensured);
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

/// The units of the services that read one of the new files only when they start.
fn users(config: &Config, ensured: &Ensured) -> Vec<UnitName> {
    let is_new = |file: &&str| ensured.made.iter().any(|made| made.file.ends_with(file));
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
    fn only_services_that_do_not_reload_are_restarted() {
        let config = Config::new("n".parse().unwrap(), Cni::Flannel);
        let users = |files: &[&str]| {
            let made = files.iter().map(|file| Made {
                file: file.into(),
                reason: String::new(),
            });
            let made = made.collect();
            let ensured = Ensured {
                made,
                ..Ensured::default()
            };
            let names = users(&config, &ensured).into_iter();
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
