//! The settings by name: how each is called, what its value is, and what differs between two configurations.

use std::fmt;

use serde::Serialize;

use super::Config;

/// One setting of the configuration. Its name is its key in `config.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The container runtime.
    Cri,
    /// How pods are connected.
    Cni,
    /// The name of this machine in the cluster.
    NodeName,
    /// The domain of service names.
    ClusterDomain,
    /// Ports of the host that lead into the cluster.
    Publish,
    /// Where services are published by themselves.
    PublishServices,
    /// The addons that the cluster does without.
    Without,
    /// The target that starts at login.
    Start,
    /// The network between the host and the namespaces.
    Rootlesskit,
    /// The network of services.
    Services,
    /// The network of pods.
    Pods,
    /// The number of the name server's address in the network of services.
    Dns,
    /// The program that connects the namespaces with this machine's network.
    NetworkDriver,
    /// The size of the largest packet between the host and the namespaces.
    NetworkMtu,
    /// How much memory the cluster may use.
    Memory,
    /// How much processor time the cluster may use.
    Cpus,
    /// The cluster's share of the processors.
    CpuWeight,
    /// How many processes a pod may have.
    PodPids,
    /// What this machine does for its cluster.
    Role,
    /// The address at which other machines reach this one.
    Address,
    /// Where the API servers are, for a worker.
    Endpoints,
    /// The size of the largest packet between machines.
    Mtu,
    /// The port of the API server.
    ApiPort,
    /// The port of the kubelet.
    KubeletPort,
    /// The port of the pod network between machines.
    VxlanPort,
    /// Whether other control planes stand beside this one.
    SeveralControlPlanes,
    /// When backups are made.
    BackupSchedule,
    /// How many backups are kept.
    BackupKeep,
    /// Where backups go.
    BackupDir,
}

impl Setting {
    /// All settings, in the order of the file.
    pub const ALL: [Self; 29] = [
        Self::Cri,
        Self::Cni,
        Self::NodeName,
        Self::ClusterDomain,
        Self::Publish,
        Self::PublishServices,
        Self::Without,
        Self::Start,
        Self::Rootlesskit,
        Self::Services,
        Self::Pods,
        Self::Dns,
        Self::NetworkDriver,
        Self::NetworkMtu,
        Self::Memory,
        Self::Cpus,
        Self::CpuWeight,
        Self::PodPids,
        Self::Role,
        Self::Address,
        Self::Endpoints,
        Self::Mtu,
        Self::ApiPort,
        Self::KubeletPort,
        Self::VxlanPort,
        Self::SeveralControlPlanes,
        Self::BackupSchedule,
        Self::BackupKeep,
        Self::BackupDir,
    ];

    /// Its key in the file, with the table it is in.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cri => "cri",
            Self::Cni => "cni",
            Self::NodeName => "node_name",
            Self::ClusterDomain => "cluster_domain",
            Self::Publish => "publish",
            Self::PublishServices => "publish_services",
            Self::Without => "without",
            Self::Start => "start",
            Self::Rootlesskit => "network.rootlesskit",
            Self::Services => "network.services",
            Self::Pods => "network.pods",
            Self::Dns => "network.dns",
            Self::NetworkDriver => "network.driver",
            Self::NetworkMtu => "network.mtu",
            Self::Memory => "resources.memory",
            Self::Cpus => "resources.cpus",
            Self::CpuWeight => "resources.cpu_weight",
            Self::PodPids => "resources.pod_pids",
            Self::Role => "machines.role",
            Self::Address => "machines.address",
            Self::Endpoints => "machines.endpoints",
            Self::Mtu => "machines.mtu",
            Self::ApiPort => "machines.api_port",
            Self::KubeletPort => "machines.kubelet_port",
            Self::VxlanPort => "machines.vxlan_port",
            Self::SeveralControlPlanes => "machines.several_control_planes",
            Self::BackupSchedule => "backup.schedule",
            Self::BackupKeep => "backup.keep",
            Self::BackupDir => "backup.dir",
        }
    }

    /// Whether the objects of an existing cluster depend on it: they carry service addresses, the node's name and the
    /// domain, and another value would leave them behind.
    #[must_use]
    pub fn is_fixed_by_data(self) -> bool {
        matches!(
            self,
            Self::NodeName | Self::ClusterDomain | Self::Services | Self::Dns
        )
    }

    /// Its value as text, the way a command line takes it.
    #[must_use]
    pub fn value(self, config: &Config) -> String {
        match self {
            Self::Cri => config.cri.to_string(),
            Self::Cni => config.cni.to_string(),
            Self::NodeName => config.node_name.to_string(),
            Self::ClusterDomain => config.cluster_domain.to_string(),
            Self::Publish => {
                let ports: Vec<_> = config.publish.iter().map(ToString::to_string).collect();
                ports.join(" ")
            }
            Self::PublishServices => config.publish_services.to_string(),
            Self::Without => {
                let names: Vec<_> = config.without.iter().map(|addon| addon.as_str()).collect();
                names.join(",")
            }
            Self::Start => config.start.to_string(),
            Self::Rootlesskit => config.network.rootlesskit.to_string(),
            Self::Services => config.network.services.to_string(),
            Self::Pods => config.network.pods.to_string(),
            Self::Dns => config.network.dns.to_string(),
            Self::NetworkDriver => config.network.driver.to_string(),
            Self::NetworkMtu => config.network.mtu.to_string(),
            Self::Memory => config.resources.memory.to_string(),
            Self::Cpus => config.resources.cpus.to_string(),
            Self::CpuWeight => config.resources.cpu_weight.to_string(),
            Self::PodPids => config.resources.pod_pids.to_string(),
            Self::Role => config.machines.role.to_string(),
            Self::Address => config
                .machines
                .address
                .map_or_else(String::new, |a| a.to_string()),
            Self::Endpoints => {
                let all: Vec<_> = config
                    .machines
                    .endpoints
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                all.join(" ")
            }
            Self::Mtu => config.machines.mtu.to_string(),
            Self::ApiPort => config.machines.api_port.to_string(),
            Self::KubeletPort => config.machines.kubelet_port.to_string(),
            Self::VxlanPort => config.machines.vxlan_port.to_string(),
            Self::SeveralControlPlanes => config.machines.several_control_planes.to_string(),
            Self::BackupSchedule => config.backup.schedule.to_string(),
            Self::BackupKeep => config.backup.keep.to_string(),
            Self::BackupDir => config.backup.dir.to_string(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

impl Serialize for Setting {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

/// A setting that has another value than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which setting.
    pub setting: Setting,
    /// Its value before.
    pub old: String,
    /// Its value now.
    pub new: String,
}

impl Change {
    /// All settings whose values differ, in the order of the file.
    #[must_use]
    pub fn between(before: &Config, after: &Config) -> Vec<Self> {
        let changes = Setting::ALL.into_iter().map(|setting| Self {
            setting,
            old: setting.value(before),
            new: setting.value(after),
        });
        changes.filter(|change| change.old != change.new).collect()
    }
}

/// As people read it: `cni: bridge → flannel`. An empty value is shown as two quotes.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &str| match value {
            "" => "\"\"".to_owned(),
            value => value.to_owned(),
        };
        let (old, new) = (shown(&self.old), shown(&self.new));
        write!(f, "{}: {old} → {new}", self.setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cni, Cri};

    #[test]
    fn every_key_of_the_file_is_a_setting() {
        let config = Config::new("n".parse().unwrap(), Cni::Bridge);
        let table: toml::Table = config.to_text().parse().unwrap();
        let mut keys = Vec::new();
        for (key, value) in &table {
            match value.as_table() {
                Some(inner) => keys.extend(inner.keys().map(|name| format!("{key}.{name}"))),
                None => keys.push(key.clone()),
            }
        }
        keys.retain(|key| key != "schema");
        keys.sort_unstable();
        let mut known = Setting::ALL.map(|setting| setting.key().to_owned());
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn a_change_is_shown_as_text_and_as_json() {
        let before = Config::new("n".parse().unwrap(), Cni::Bridge);
        let mut after = before.clone();
        assert_eq!(Change::between(&before, &after), []);
        after.cri = Cri::None;
        after.network.services = "10.9.0.0/24".parse().unwrap();
        let changes = Change::between(&before, &after);
        let shown: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "cri: containerd → \"\"",
                "network.services: 10.0.0.0/24 → 10.9.0.0/24"
            ]
        );
        assert_eq!(
            serde_json::to_value(&changes[1]).unwrap(),
            serde_json::json!({ "setting": "network.services", "old": "10.0.0.0/24", "new": "10.9.0.0/24" })
        );
    }
}
