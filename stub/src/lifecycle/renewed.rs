//! New certificates for a cluster that runs.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::addons;
use crate::cluster::Current;
use crate::config::Config;
use crate::error::Result;
use crate::manager::Manager;
use crate::nodes;
use crate::pki::{self, Ensured, Renew, rfc3339};
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName};
use crate::store::Store;
use crate::systemd::Unit;

const DAY: Duration = Duration::from_hours(24);

/// Renews all certificates except those of the authorities. Afterwards they are on disk. Restarts the running services that
/// cannot load them, or, with `restart`, all that use any.
pub fn renew(restart: bool, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    let ensured = issue(&current, Renew::All, SystemTime::now(), progress)?;
    let names = if restart {
        let services = Services::of(&current.config);
        let users = services
            .iter()
            .filter(|s| *s != Service::Rootlesskit && !s.row().own);
        users.map(|service| services.unit(service)).collect()
    } else {
        names_of(&current.config, &users(&current.config, &ensured))
    };
    if !restart {
        progress.line("running services load the new certificates within 5 minutes");
    }
    if names.is_empty() {
        return Ok(());
    }
    let manager = current.manager()?;
    let running = running(manager.as_ref(), &names)?;
    if running.is_empty() {
        progress.line("no service that must restart is running");
        return Ok(());
    }
    restart_all(manager.as_ref(), running.iter().map(Unit::name), progress)
}

/// Renews the certificates that are [due](Renew::Due), and restarts the running services that must, see [`renew_due`].
/// Pods keep running. Does nothing, and says nothing, if nothing is due.
/// Fails if services must restart and the service manager does not answer; the certificates are on disk then.
pub fn renew_due_and_restart(progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    let now = SystemTime::now();
    let mut due = renew_due(&current, now, progress)?;
    let services = Services::of(&current.config);
    let asked = current.manager().and_then(|manager| {
        let units = running(manager.as_ref(), &services.all_units())?;
        Ok((manager, units))
    });
    let (manager, units) = match asked {
        Ok(asked) => asked,
        // The certificates are in order, and without a service manager nothing runs that is too old.
        Err(_) if due.is_empty() => return Ok(()),
        Err(error) => return Err(error),
    };
    let state = |service| {
        let name = services.unit(service);
        units.iter().find(|unit| name == *unit.name())
    };
    let trusts_since = nodes::trusts_since(&current).map(rfc3339);
    due.extend(services.iter().filter(|service| {
        let started = state(*service).and_then(Unit::started);
        started.is_some_and(|started| {
            runs_too_long(*service, &started, now)
                || trusts_since.as_ref().is_some_and(|since| {
                    service.kubeconfig(&current.config).is_some() && started <= *since
                })
        })
    }));
    let names = due.into_iter().filter_map(|s| Some(state(s)?.name()));
    restart_all(manager.as_ref(), names, progress)?;
    if trusts_since.is_some()
        && let Err(error) = nodes::report_authority(&current)
    {
        progress.line(format!(
            "cannot tell the cluster that this machine has followed to its new authority: {error}"
        ));
    }
    Ok(())
}

/// Renews the certificates that are [due](Renew::Due) at this time: those that end within 30 days, and those that lack an
/// address that the machine has now. Also updates the kubeconfigs that the administrator's was merged into. Afterwards
/// everything is on disk.
///
/// Gives the services that must restart if they run. All others load their new certificates by themselves. The caller holds
/// the lock of the store.
pub fn renew_due(
    current: &Current,
    now: SystemTime,
    progress: &Progress,
) -> Result<BTreeSet<Service>> {
    let ensured = issue(current, Renew::Due, now, progress)?;
    Ok(users(&current.config, &ensured))
}

/// Whether a service must restart, because a certificate in its memory is about to expire. `started` is when its program was
/// started, RFC 3339 in UTC.
#[must_use]
pub fn runs_too_long(service: Service, started: &str, now: SystemTime) -> bool {
    let Some(days) = service.row().longest_days else {
        return false;
    };
    let limit = now.checked_sub(DAY * u32::from(days));
    // Such texts sort like the times they describe.
    limit.is_some_and(|limit| *started < *rfc3339(limit))
}

/// Issues certificates, and brings the user's own kubeconfigs up to date.
fn issue(current: &Current, renew: Renew, now: SystemTime, progress: &Progress) -> Result<Ensured> {
    let ensured = if current.config.machines.is_worker() {
        nodes::renew(current, renew, now)?
    } else {
        let request = current.pki_request();
        pki::ensure(current.layout.config(), &request, renew, now)?
    };
    match ensured.certificates() {
        0 => {}
        1 => progress.line("renewed 1 certificate"),
        number => progress.line(format!("renewed {number} certificates")),
    }
    addons::renewed(current, &ensured, progress);
    // `install` and the launcher of RootlessKit may have renewed the administrator's certificate before.
    current.update_merged_kubeconfigs(progress);
    Ok(ensured)
}

/// Restarts those running services that must, after certificates have changed. Pods and RootlessKit keep running.
pub(crate) fn restart_users(
    manager: &dyn Manager,
    config: &Config,
    ensured: &Ensured,
    progress: &Progress,
) -> Result<()> {
    let names = names_of(config, &users(config, ensured));
    let running = running(manager, &names)?;
    restart_all(manager, running.iter().map(Unit::name), progress)
}

pub(super) fn restart_all<'a>(
    manager: &dyn Manager,
    names: impl Iterator<Item = &'a str>,
    progress: &Progress,
) -> Result<()> {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    manager.restart(&names)?;
    progress.line(format!("restarted {}", names.join(" ")));
    Ok(())
}

fn running(manager: &dyn Manager, names: &[UnitName]) -> Result<Vec<Unit>> {
    let units = manager.units(names)?;
    Ok(units.into_iter().filter(|u| !u.is_stopped()).collect())
}

fn names_of(config: &Config, users: &BTreeSet<Service>) -> Vec<UnitName> {
    Services::of(config).units(users)
}

/// The services that must restart: those with a new kubeconfig, those whose authorities are others, and those whose own
/// certificate had expired. The latter would load the new one within five minutes, but until then the API server refuses them,
/// and a node that is silent for so long loses its pods.
fn users(config: &Config, ensured: &Ensured) -> BTreeSet<Service> {
    let services = Services::of(config);
    let users = services.iter().filter(|service| {
        service.kubeconfig(config).is_some_and(|kubeconfig| {
            ensured.has(&kubeconfig.file())
                || ensured.has(&kubeconfig.authority().certificate())
                || ensured.replaces_expired(&kubeconfig.credential().certificate())
        })
    });
    users.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cni;
    use crate::pki::Made;

    /// The services that restart after these files were written, some of them in place of expired certificates.
    fn restarted(files: &[&str], expired: bool) -> String {
        let config = Config::new("n".parse().unwrap(), Cni::Flannel);
        let made = files.iter().map(|file| Made {
            file: file.into(),
            reason: String::new(),
            expired,
        });
        let ensured = Ensured {
            made: made.collect(),
            ..Ensured::default()
        };
        let users = users(&config, &ensured).into_iter();
        users.map(Service::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_certificate_that_is_renewed_in_time_restarts_nothing() {
        for file in [
            "master/kube-apiserver.pem",
            "master/etcd.pem",
            "node/node.pem",
            "node/node-client.pem",
            "node/flannel.pem",
            "master/admin-localhost.kubeconfig",
        ] {
            assert_eq!(restarted(&[file], false), "", "{file}");
        }
    }

    #[test]
    fn services_restart_for_a_new_kubeconfig_and_after_their_certificate_had_expired() {
        let kubeconfigs = [
            "node/flannel.kubeconfig",
            "master/kube-scheduler.kubeconfig",
        ];
        assert_eq!(restarted(&kubeconfigs, false), "kube-scheduler flanneld");
        let expired = [
            "master/kube-apiserver.pem",
            "master/etcd.pem",
            "master/kube-controller-manager.pem",
            "node/node.pem",
            "node/node-client.pem",
        ];
        assert_eq!(restarted(&expired, true), "kube-controller-manager kubelet");
    }

    #[test]
    fn a_workers_services_restart_when_it_trusts_other_authorities() {
        assert_eq!(
            restarted(&["node/ca.pem"], false),
            "kubelet kube-proxy flanneld"
        );
    }

    #[test]
    fn the_api_server_restarts_before_the_certificate_in_its_memory_expires() {
        use std::time::UNIX_EPOCH;

        let started = "2027-01-01T00:00:00Z";
        let day = |days: u32| UNIX_EPOCH + Duration::from_hours(499_656) + DAY * days;
        assert!(!runs_too_long(Service::KubeApiserver, started, day(300)));
        assert!(runs_too_long(Service::KubeApiserver, started, day(301)));
        assert!(!runs_too_long(Service::KubeApiserver, started, UNIX_EPOCH));
        assert!(!runs_too_long(Service::Etcd, started, day(4000)));
    }
}
