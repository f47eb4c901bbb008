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

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::layout::Layout;
use crate::services::{Service, Services, TARGETS, UnitName};

/// How long after its start `boot rootlesskit` may fail at the earliest. It waits for the rest, unless it is told to stop.
///
/// While it starts or stops, everything that needs it waits. Without the delay a RootlessKit that cannot start was tried 100 times a
/// minute, which left 1850 lines in the log (systemd 257); with it 6 times and 120 lines.
pub const HOLD_OFF: Duration = Duration::from_secs(10);

/// How long to wait before a service is started again: at first, and at the longest, which is reached after so many
/// restarts. A person can wait that long.
pub(crate) const RESTART_FIRST: Duration = Duration::from_secs(1);
pub(crate) const RESTART_LONGEST: Duration = Duration::from_secs(15);
pub(crate) const RESTART_STEPS: u32 = 8;

/// How long a service may take to become ready. Minutes, because etcd and the API server need one on a slow machine.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(5);

/// How many files a service may have open, if it does not ask for more.
pub(crate) const OPEN_FILES: u64 = 65536;

/// Where to read more.
const DOCUMENTATION: &str = "https://github.com/rootless-containers/usernetes";

/// How a service is started, whoever starts it: the program and its arguments.
#[must_use]
pub(crate) fn exec(service: Service, layout: &Layout) -> (PathBuf, [&'static str; 2]) {
    (layout.program("usernetes"), ["boot", service.as_str()])
}

/// Names and texts of all units of a generation, which the configuration needs.
///
/// `systemd` is the version of the running systemd, such as 257: an older one does not know every key, and would warn.
#[must_use]
pub fn units(config: &Config, layout: &Layout, systemd: u32) -> BTreeMap<UnitName, String> {
    let services = &Services::of(config);
    let of_services = services.iter().map(|service| {
        let text = service::text(service, services, config.cri, layout, systemd);
        (services.unit(service), text.to_string())
    });
    let of_targets = TARGETS.iter().filter_map(|row| {
        let text = target::text(row, services)?;
        Some((UnitName::target(row.target), text.to_string()))
    });
    of_services.chain(of_targets).collect()
}

#[cfg(test)]
mod tests;
