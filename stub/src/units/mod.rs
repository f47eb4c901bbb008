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
use std::time::Duration;

use crate::config::Config;
use crate::layout::Layout;
use crate::services::{Services, TARGETS, UnitName};

/// How long after its start `boot rootlesskit` may fail at the earliest. It waits for the rest, unless it is told to stop.
///
/// While it starts or stops, everything that needs it waits. Without the delay a RootlessKit that cannot start was tried 100 times a
/// minute, which left 1850 lines in the log (systemd 257); with it 6 times and 120 lines.
pub const HOLD_OFF: Duration = Duration::from_secs(10);

/// Where to read more.
const DOCUMENTATION: &str = "https://github.com/rootless-containers/usernetes";

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
