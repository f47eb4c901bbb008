//! The units of services.

use std::time::Duration;

use super::ini::{Unit, command, word};
use super::{
    DOCUMENTATION, OPEN_FILES, RESTART_FIRST, RESTART_LONGEST, RESTART_STEPS, START_PATIENCE, exec,
};
use crate::config::Config;
use crate::layout::Layout;
use crate::services::{Service, Services, UnitName};

/// The unit of one of the services of a configuration.
pub(super) fn text(
    service: Service,
    services: &Services,
    config: &Config,
    layout: &Layout,
    systemd: u32,
) -> Unit {
    let row = service.row();
    let mut wants = services.units(row.wants);
    if service == Service::Rootlesskit {
        wants.extend(services.units(&services.beside()));
        wants.push(UnitName::renewal_timer());
        if services.has(Service::Etcd) {
            wants.push(UnitName::defragmentation_timer());
        }
        if !config.backup.schedule.is_never() {
            wants.push(UnitName::backup_timer());
        }
    }
    let unit = Unit::default()
        .section("Unit")
        .key(
            "Description",
            format!("Usernetes: {}", service.title(config.cri)),
        )
        .key("Documentation", DOCUMENTATION)
        .key("PartOf", row.target)
        .list("BindsTo", &services.units(row.binds))
        .list("Wants", &wants)
        .list("After", &services.units(row.after))
        .key("StartLimitIntervalSec", 0)
        .section("Service")
        .key("Type", if row.notifies { "notify" } else { "exec" })
        // The main process is the launcher or RootlessKit, but notifications come from its child processes.
        .key("NotifyAccess", "all");
    let (program, args) = exec(service, layout);
    let unit = unit
        .key("ExecStart", command(&program, &args))
        .key("Environment", environment(layout))
        .key("SyslogIdentifier", format!("u7s-{}", row.name))
        .key("Restart", "always");
    let clean_exits: Vec<_> = row.clean_exits.iter().map(u8::to_string).collect();
    let unit = restart_delay(unit, systemd)
        .key("SuccessExitStatus", clean_exits.join(" "))
        .key(
            "TimeoutStartSec",
            format!("{}min", START_PATIENCE.as_secs() / 60),
        )
        .key("TimeoutStopSec", format!("{}s", row.stop_seconds))
        // The launcher passes SIGTERM on. If it went to all processes of the unit, it would also end pods and the network driver.
        .key("KillMode", "mixed")
        .key("LimitNOFILE", format!("{OPEN_FILES}:524288"))
        .key("Slice", UnitName::slice());
    let unit = match row.memory_low_mebibytes {
        0 => unit,
        count => unit.key("MemoryLow", format!("{count}M")),
    };
    if row.namespaces.is_none() {
        // The cgroups of pods are below that of this unit. A pod that runs out of memory must not stop the cluster.
        unit.key("Delegate", "yes")
            .key("TasksMax", "infinity")
            .key("OOMPolicy", "continue")
    } else {
        unit
    }
}

/// The variables with which a program finds this layout. In the session that runs `install`, they may have other values than
/// in the service manager.
pub(super) fn environment(layout: &Layout) -> String {
    let variables = layout
        .xdg_bases()
        .map(|(name, path)| word(&format!("{name}={}", path.display())));
    variables.join(" ")
}

/// systemd 254 and later can increase the delay with every restart. They never reset the number of restarts, so the longest
/// delay must be short enough for a person to wait for.
fn restart_delay(unit: Unit, systemd: u32) -> Unit {
    if systemd >= 254 {
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        unit.key("RestartSec", seconds(RESTART_FIRST))
            .key("RestartSteps", RESTART_STEPS)
            .key("RestartMaxDelaySec", seconds(RESTART_LONGEST))
    } else {
        unit.key("RestartSec", "3s")
    }
}
