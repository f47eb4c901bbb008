//! The systemd user units of a generation.
//!
//! Five facts determine how they look. All were observed with real components:
//!
//! * systemd stops units in the reverse of their start order, so `After=` also decides the stop order: first the kubelet
//!   and kube-proxy, then the controller manager and the scheduler, then the API server, then etcd. RootlessKit comes
//!   last, because its end kills every process in its namespaces. Starting the kubelet after the API server costs no
//!   time: before, it would only fail to reach the API server and wait.
//! * `BindsTo=` stops everything when RootlessKit ends, and `systemctl restart u7s-rootlesskit` restarts everything.
//!   After a crash of RootlessKit, only `Upholds=` in the targets starts the other services again. The targets stay active.
//! * Targets use `Wants=` for their services. With `Requires=`, a service that crashes would stop its target, and the
//!   target would stop all its other services.
//! * There is no start limit. A unit that has reached one stays dead, although its target tries to start it again and
//!   again. Instead, the delay between attempts grows. It cannot grow for RootlessKit, because the services that need it
//!   start it again at once. Therefore its launcher waits before it reports a failure, see [`HOLD_OFF`].
//! * The control groups of pods are below that of RootlessKit's unit, in `kubepods`, which the kubelet limits to what the
//!   control plane leaves. All services are in one slice, which is limited to the budget of the cluster. If that is used up,
//!   the kernel takes back the memory of pods before that which `MemoryLow=` protects.

mod backup;
mod certs;
mod defrag;
mod ini;
mod service;
mod slice;
mod target;
mod timer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::layout::Layout;
use crate::protocol;
use crate::services::{Service, Services, TARGETS, UnitName};

/// The shortest time from the start of `boot rootlesskit` until it exits with a failure. If RootlessKit fails earlier, it
/// waits for the rest of this time, unless it is told to stop.
///
/// The services that need RootlessKit wait during this time. Without it, a RootlessKit that could not start was started
/// 100 times a minute, which wrote 1850 lines to the log (systemd 257); with it, 6 times and 120 lines.
pub const HOLD_OFF: Duration = Duration::from_secs(10);

/// How long to wait before a service is started again: at first, and at the longest, which is reached after so many
/// restarts. A person can wait that long.
pub(crate) const RESTART_FIRST: Duration = Duration::from_secs(1);
pub(crate) const RESTART_LONGEST: Duration = Duration::from_secs(15);
pub(crate) const RESTART_STEPS: u32 = 8;

/// How long a service may take to become ready. On a slow machine, etcd and the API server need a minute.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(5);

/// How many files a service may have open, if it does not ask for more.
pub(crate) const OPEN_FILES: u64 = 65536;

/// The page that every unit names as its documentation.
const DOCUMENTATION: &str = "https://github.com/rootless-containers/usernetes";

/// The program that starts a service, and its arguments. Units and `usernetes run` use the same ones.
#[must_use]
pub(crate) fn exec(service: Service, layout: &Layout) -> (PathBuf, [&'static str; 2]) {
    let program = layout.program("usernetes");
    (program, [protocol::BOOT, service.as_str()])
}

/// The names and texts of all units of a generation that the configuration needs.
///
/// `systemd` is the version of the running systemd, such as 257. Keys that this version does not know are left out, because
/// it would warn about them.
#[must_use]
pub fn units(config: &Config, layout: &Layout, systemd: u32) -> BTreeMap<UnitName, String> {
    let services = &Services::of(config);
    let of_services = services.iter().map(|service| {
        let text = service::text(service, services, config, layout, systemd);
        (services.unit(service), text.to_string())
    });
    let of_targets = TARGETS.iter().filter_map(|row| {
        let text = target::text(row, services)?;
        Some((UnitName::target(row.target), text.to_string()))
    });
    let slice = slice::text(&config.resources).to_string();
    let others = [
        (
            UnitName::renewal_timer(),
            certs::timer(services).to_string(),
        ),
        (UnitName::renewal(), certs::service(layout).to_string()),
        (UnitName::slice(), slice),
    ];
    let defragmentation = services.has(Service::Etcd).then(|| {
        [
            (
                UnitName::defragmentation_timer(),
                defrag::timer(services).to_string(),
            ),
            (
                UnitName::defragmentation(),
                defrag::service(layout).to_string(),
            ),
        ]
    });
    let backup = [
        (
            UnitName::backup_timer(),
            backup::timer(services, &config.backup.schedule).to_string(),
        ),
        (UnitName::backup(), backup::service(layout).to_string()),
    ];
    let backup = backup
        .into_iter()
        .filter(|_| !config.backup.schedule.is_never());
    of_services
        .chain(of_targets)
        .chain(others)
        .chain(backup)
        .chain(defragmentation.into_iter().flatten())
        .collect()
}

#[cfg(test)]
mod tests;
