//! The names under which people look for logs: those of services, of container runtimes, and of units.

use std::str::FromStr;

use super::{Service, UnitName, all_unit_names};
use crate::config::Cri;
use crate::error::{Error, Kind, Result};

/// The container runtimes. They are children of RootlessKit's launcher, so they write into its unit's log.
const RUNTIMES: [&str; 3] = ["containerd", "crio", "cri-o"];

/// The name for the service that renews certificates.
const RENEWAL: &str = "certs";

/// Something that writes a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// A service, whatever the name of its unit is.
    Service(Service),
    /// Any unit by its name.
    Unit(UnitName),
}

impl Component {
    /// The unit whose log it is, in a cluster with this container runtime.
    #[must_use]
    pub fn unit(&self, cri: Cri) -> UnitName {
        match self {
            Self::Service(service) => service.unit(cri),
            Self::Unit(unit) => unit.clone(),
        }
    }

    /// The plain names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let services = Service::all().map(Service::as_str);
        services.chain(RUNTIMES).chain([RENEWAL])
    }
}

/// Accepts plain names such as `kubelet` and `containerd`, and what [`UnitName`] accepts.
impl FromStr for Component {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Some(service) = Service::named(text) {
            return Ok(Self::Service(service));
        }
        if RUNTIMES.contains(&text) {
            return Ok(Self::Service(Service::Rootlesskit));
        }
        text.parse().map(Self::Unit).map_err(|_| {
            let names: Vec<_> = Self::names().collect();
            let units: Vec<_> = all_unit_names().iter().map(ToString::to_string).collect();
            Error::new(Kind::Usage, format!("there is no component {text:?}"))
                .expected(names.join(", "))
                .detail("or a unit", units.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_a_unit() {
        let unit = |name: &str| name.parse::<Component>().unwrap().unit(Cri::Crio);
        for name in Component::names() {
            assert!(all_unit_names().contains(unit(name).as_str()), "{name}");
        }
        assert_eq!(unit("kubelet").as_str(), "u7s-kubelet-crio.service");
        assert_eq!(unit("containerd").as_str(), "u7s-rootlesskit.service");
        assert_eq!(unit("certs").as_str(), "u7s-certs.service");
        assert_eq!(unit("u7s-etcd.service").as_str(), "u7s-etcd.service");
        assert_eq!(
            unit("kubelet-containerd").as_str(),
            "u7s-kubelet-containerd.service"
        );
        let error = "docker".parse::<Component>().unwrap_err().to_string();
        assert!(
            error.contains("rootlesskit, etcd, kube-apiserver"),
            "{error}"
        );
        assert!(error.contains("containerd, crio, cri-o, certs"), "{error}");
    }
}
