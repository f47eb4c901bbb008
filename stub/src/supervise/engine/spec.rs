//! What the engine must know of a service.

use std::time::Duration;

use crate::config::Target;
use crate::services::{Row, Service, Services};

/// What the engine must know of a service: its row in the table, without services that this configuration lacks.
#[derive(Debug, Clone)]
pub(in crate::supervise) struct Spec {
    pub(super) service: Service,
    pub(super) unit: String,
    pub(super) binds: Vec<Service>,
    pub(super) needs: Vec<Service>,
    pub(super) after: Vec<Service>,
    pub(super) notifies: bool,
    pub(super) clean_exits: &'static [u8],
    pub(super) stop: Duration,
    pub(super) target: Target,
    pub(super) upheld: bool,
    pub(super) beside: bool,
}

impl Spec {
    /// Those of a configuration.
    pub(in crate::supervise) fn all(services: &Services) -> Vec<Self> {
        let present =
            |list: &[Service]| list.iter().copied().filter(|s| services.has(*s)).collect();
        let spec = |service: Service| {
            let row: &Row = service.row();
            Self {
                service,
                unit: services.unit(service).to_string(),
                binds: present(row.binds),
                needs: row.needs().filter(|s| services.has(*s)).collect(),
                after: present(row.after),
                notifies: row.notifies,
                clean_exits: row.clean_exits,
                stop: Duration::from_secs(row.stop_seconds.into()),
                target: row.target,
                upheld: row.upheld,
                beside: row.beside,
            }
        };
        services.iter().map(spec).collect()
    }
}
