//! The services: everything that runs, in one table, and the targets that group them.
//!
//! [`SERVICES`] is the only place that says in which unit a service runs, which services it needs and starts after, how
//! it reports that it is ready, and how it is stopped. The unit files, the stop order, the layers of `status`, `boot` and
//! the checks of the installer are derived from it. To add a service, add its name to [`Service`], a row to the table,
//! and a function in `components/` that returns its command line.

mod component;
mod name;
mod table;
mod target;

pub use component::Component;
pub use name::UnitName;
pub use table::{Namespaces, Part, Row, Runtime, SERVICES};
pub use target::{TARGETS, TargetRow, with_wanted};

use std::collections::BTreeSet;

use crate::config::{Config, Cri, Target};
use crate::layout::Kubeconfig;

/// A program that a unit runs. Its name is also the argument of `boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// RootlessKit, with the container runtime as its child.
    Rootlesskit,
    /// etcd.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controller manager.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// Our own program that approves the certificates of other machines.
    NodeApprover,
    /// Our own program that leads to the API servers, on a worker.
    ApiProxy,
    /// The kubelet.
    Kubelet,
    /// kube-proxy.
    KubeProxy,
    /// flannel's daemon.
    Flanneld,
    /// Our own program that keeps ports published.
    Ports,
}

impl Service {
    /// All services, in the order they start.
    #[must_use]
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        SERVICES.iter().map(|row| row.service)
    }

    /// The service with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|service| service.as_str() == name)
    }

    /// Its row in the table. The rows are in the same order as this enum; a test checks that.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &SERVICES[self as usize]
    }

    /// Its name, which is also the name of its program, unless it is our own.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The kubeconfig with which it connects to the API server on a machine with this configuration. A worker has a single
    /// identity, that of its node. flannel's own may write into the node of one machine only, so with several control planes it
    /// has that of its node, too.
    #[must_use]
    pub fn kubeconfig(self, config: &Config) -> Option<Kubeconfig> {
        let kubeconfig = self.row().kubeconfig?;
        let machines = &config.machines;
        let several = self == Self::Flanneld && machines.several_control_planes;
        Some(if machines.is_worker() || several {
            Kubeconfig::Kubelet
        } else {
            kubeconfig
        })
    }

    /// Its unit in a cluster with this container runtime.
    #[must_use]
    pub fn unit(self, cri: Cri) -> UnitName {
        let row = self.row();
        UnitName::service(match row.runtime {
            // A cluster without a container runtime does not have this unit. Name it as for the default runtime.
            Runtime::NamesUnit if cri == Cri::Crio => format!("{}-crio", row.name),
            Runtime::NamesUnit => format!("{}-containerd", row.name),
            Runtime::Child | Runtime::None => row.name.to_owned(),
        })
    }

    /// The service that a unit runs, for any container runtime; `None` for a target, and for a unit that is not ours.
    #[must_use]
    pub fn of_unit(unit: &str) -> Option<Self> {
        let is = |service: &Self| Cri::ALL.iter().any(|cri| service.unit(*cri) == *unit);
        Self::all().find(is)
    }

    /// The target that starts it again when it ends; `None` if only the services that need it start it again.
    #[must_use]
    pub fn upheld_by(self) -> Option<Target> {
        Some(self.row().target).filter(|_| self.row().upheld)
    }

    /// Its name for people, in a cluster with this container runtime.
    #[must_use]
    pub fn title(self, cri: Cri) -> String {
        let row = self.row();
        let runtime = match cri {
            Cri::Containerd => Some("containerd"),
            Cri::Crio => Some("CRI-O"),
            Cri::None => None,
        };
        match (row.runtime, runtime) {
            (Runtime::Child, Some(runtime)) => format!("{} and {runtime}", row.title),
            (Runtime::NamesUnit, runtime) => {
                format!("{} on {}", row.title, runtime.unwrap_or("containerd"))
            }
            _ => row.title.to_owned(),
        }
    }
}

/// The services of a configuration, in the order they start.
#[derive(Debug, Clone)]
pub struct Services {
    cri: Cri,
    services: Vec<Service>,
}

impl Services {
    /// The services that this configuration needs.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let needed = SERVICES.iter().filter(|row| row.part.belongs_to(config));
        Self {
            cri: config.cri,
            services: needed.map(|row| row.service).collect(),
        }
    }

    /// The services, in the order they start.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Service> + '_ {
        self.services.iter().copied()
    }

    /// Whether the configuration needs this one.
    #[must_use]
    pub fn has(&self, service: Service) -> bool {
        self.services.contains(&service)
    }

    /// The unit of a service.
    #[must_use]
    pub fn unit(&self, service: Service) -> UnitName {
        service.unit(self.cri)
    }

    /// The units of the given services, leaving out the services that the configuration does not need.
    #[must_use]
    pub fn units<'a>(&self, services: impl IntoIterator<Item = &'a Service>) -> Vec<UnitName> {
        let needed = services.into_iter().filter(|s| self.has(**s));
        needed.map(|s| self.unit(*s)).collect()
    }

    /// The units of all services of the configuration.
    #[must_use]
    pub fn all_units(&self) -> Vec<UnitName> {
        self.units(&self.services)
    }

    /// The services that a target keeps running itself, without those of the other targets that it starts.
    #[must_use]
    pub fn upheld_by(&self, target: Target) -> Vec<Service> {
        let upheld = self.iter().filter(|s| s.upheld_by() == Some(target));
        upheld.collect()
    }

    /// The services that RootlessKit starts, whatever else is started.
    #[must_use]
    pub fn beside(&self) -> Vec<Service> {
        self.iter().filter(|s| s.row().beside).collect()
    }

    /// Whether starting a target starts any of these services.
    #[must_use]
    pub fn reached(&self, target: Target) -> bool {
        let targets = with_wanted(target);
        self.iter()
            .any(|s| s.upheld_by().is_some_and(|t| targets.contains(&t)))
    }

    /// The services that run once a unit is started: its own, those of the targets that it starts, and all services that
    /// any of these need.
    #[must_use]
    pub fn started_by(&self, unit: &str) -> Vec<Service> {
        let mut started = match unit.parse::<Target>() {
            Ok(target) => {
                let targets = with_wanted(target);
                let own = self.iter().filter(|s| {
                    s.upheld_by()
                        .is_some_and(|target| targets.contains(&target))
                });
                own.collect()
            }
            Err(_) => Service::of_unit(unit).into_iter().collect::<BTreeSet<_>>(),
        };
        loop {
            let needs = started.iter().flat_map(|s| s.row().needs());
            let rootlesskit = started.contains(&Service::Rootlesskit);
            let beside = self.iter().filter(|s| rootlesskit && s.row().beside);
            let more: BTreeSet<_> = needs.filter(|s| self.has(*s)).chain(beside).collect();
            if more.is_subset(&started) {
                return started.into_iter().collect();
            }
            started.extend(more);
        }
    }
}

/// The names of all units that any configuration can have. With them, the units of an earlier configuration are found.
#[must_use]
pub fn all_unit_names() -> BTreeSet<UnitName> {
    let services = Service::all().flat_map(|s| Cri::ALL.iter().map(move |cri| s.unit(*cri)));
    let targets = TARGETS.iter().map(|row| UnitName::target(row.target));
    services.chain(targets).chain(of_timers()).collect()
}

/// The timers and the services that they start, the timers first.
fn of_timers() -> [UnitName; 6] {
    [
        UnitName::renewal_timer(),
        UnitName::backup_timer(),
        UnitName::defragmentation_timer(),
        UnitName::renewal(),
        UnitName::backup(),
        UnitName::defragmentation(),
    ]
}

/// All units, in the order in which to pass them to `systemctl stop`. systemd stops each name in a transaction of its own,
/// and starts on it at once if no other stop must come first. So the target that stops everything in one transaction comes
/// first, a target comes before the services that it would start again, and a service comes before those it needs. Before
/// all of them, nothing may restart a service any more.
#[must_use]
pub fn stop_order() -> Vec<UnitName> {
    let mut order = of_timers().to_vec();
    order.push(UnitName::target(Target::All));
    let mut push = |name: UnitName| {
        if !order.contains(&name) {
            order.push(name);
        }
    };
    for service in Service::all().rev() {
        push(UnitName::target(service.row().target));
        for row in TARGETS
            .iter()
            .filter(|row| target::first_service(row.target) == Some(service))
        {
            push(UnitName::target(row.target));
        }
        for cri in Cri::ALL {
            push(service.unit(*cri));
        }
    }
    order
}

#[cfg(test)]
mod tests;
