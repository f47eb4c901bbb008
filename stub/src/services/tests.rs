use super::*;
use crate::config::{Cni, DnsName};

fn config(cri: Cri, cni: Cni) -> Config {
    let mut config = Config::new(DnsName::new("node-1").unwrap(), cni);
    config.cri = cri;
    config
}

#[test]
fn rows_are_in_the_order_of_the_enum_and_follow_the_services_they_need() {
    for (index, row) in SERVICES.iter().enumerate() {
        assert_eq!(row.service.row().name, row.name);
        assert_eq!(Service::named(row.name), Some(row.service));
        for earlier in row.after {
            let place = SERVICES.iter().position(|r| r.service == *earlier);
            assert!(
                place.unwrap() < index,
                "{} starts after {earlier:?}",
                row.name
            );
        }
        for needed in row.needs() {
            assert!(row.after.contains(&needed), "{} needs {needed:?}", row.name);
        }
    }
}

/// How many seconds a service and all services that stop after it take at most.
fn seconds_to_stop(service: Service) -> u32 {
    let row = service.row();
    let rest = row.after.iter().map(|s| seconds_to_stop(*s)).max();
    u32::from(row.stop_seconds) + rest.unwrap_or_default()
}

#[test]
fn all_services_stop_within_the_time_that_a_machine_allows_when_it_shuts_down() {
    for service in Service::all() {
        assert!(seconds_to_stop(service) < 90, "{service:?}");
    }
}

#[test]
fn a_machine_has_the_services_that_its_configuration_needs() {
    let names = |cri, cni| {
        let services = Services::of(&config(cri, cni));
        services
            .iter()
            .map(Service::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let control_plane = "rootlesskit etcd kube-apiserver kube-controller-manager kube-scheduler";
    assert_eq!(
        names(Cri::None, Cni::Flannel),
        format!("{control_plane} ports")
    );
    let bridge = format!("{control_plane} kubelet kube-proxy");
    assert_eq!(names(Cri::Crio, Cni::Bridge), format!("{bridge} ports"));
    assert_eq!(
        names(Cri::Containerd, Cni::Flannel),
        format!("{bridge} flanneld ports")
    );
}

#[test]
fn a_worker_has_no_control_plane_and_one_identity() {
    let mut config = config(Cri::Crio, Cni::Flannel);
    let names = |config: &Config| {
        let services = Services::of(config);
        let names: Vec<_> = services.iter().map(Service::as_str).collect();
        names.join(" ")
    };
    config.machines.address = Some([192, 0, 2, 7].into());
    assert_eq!(
        names(&config),
        "rootlesskit etcd kube-apiserver kube-controller-manager kube-scheduler node-approver kubelet kube-proxy flanneld ports"
    );
    assert_eq!(
        Service::KubeProxy.kubeconfig(&config),
        Some(Kubeconfig::KubeProxy)
    );
    config.machines.role = crate::config::Role::Worker;
    assert_eq!(
        names(&config),
        "rootlesskit api-proxy kubelet kube-proxy flanneld ports"
    );
    for service in Services::of(&config).iter() {
        let kubeconfig = service.kubeconfig(&config);
        assert!(kubeconfig.is_none_or(|kubeconfig| kubeconfig == Kubeconfig::Kubelet));
    }
    let kubelet = Services::of(&config).started_by("u7s-kubelet-crio.service");
    assert!(kubelet.contains(&Service::ApiProxy), "{kubelet:?}");
}

#[test]
fn a_unit_starts_the_services_that_it_needs() {
    let services = Services::of(&config(Cri::Crio, Cni::Flannel));
    let started = |unit: &str| {
        let started = services.started_by(unit).into_iter();
        started.map(Service::as_str).collect::<Vec<_>>().join(" ")
    };
    let control_plane = "rootlesskit etcd kube-apiserver kube-controller-manager kube-scheduler";
    assert_eq!(
        started("u7s.target"),
        format!("{control_plane} kubelet kube-proxy flanneld ports")
    );
    let master = format!("{control_plane} ports");
    assert_eq!(started("u7s-master-with-etcd.target"), master);
    assert_eq!(started("u7s-master.target"), master);
    assert_eq!(started("u7s-etcd.target"), "rootlesskit etcd ports");
    assert_eq!(
        started("u7s-node.target"),
        "rootlesskit kubelet kube-proxy flanneld ports"
    );
    assert_eq!(
        started("u7s-kube-apiserver.service"),
        "rootlesskit etcd kube-apiserver ports"
    );
    assert_eq!(
        started("u7s-kubelet-crio.service"),
        "rootlesskit kubelet ports"
    );
    assert_eq!(started(""), "");
}

#[test]
fn unit_names_may_be_shortened() {
    for text in ["etcd", "u7s-etcd", "u7s-etcd.service"] {
        assert_eq!(
            text.parse::<UnitName>().unwrap().as_str(),
            "u7s-etcd.service"
        );
    }
    assert_eq!("u7s".parse::<UnitName>().unwrap().as_str(), "u7s.target");
    assert_eq!(
        "master".parse::<UnitName>().unwrap().as_str(),
        "u7s-master.target"
    );
    assert!("kubelet".parse::<UnitName>().is_err());
}

#[test]
fn every_unit_is_stopped_and_etcd_after_the_api_server() {
    let order = stop_order();
    let sorted: BTreeSet<_> = order.iter().cloned().collect();
    assert_eq!(sorted, all_unit_names());
    assert_eq!(sorted.len(), order.len());
    let lines: Vec<_> = order.iter().map(UnitName::as_str).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    u7s-certs.timer
    u7s-backup.timer
    u7s-etcd-defrag.timer
    u7s-certs.service
    u7s-backup.service
    u7s-etcd-defrag.service
    u7s.target
    u7s-ports.service
    u7s-node.target
    u7s-flanneld.service
    u7s-kube-proxy.service
    u7s-kubelet-containerd.service
    u7s-kubelet-crio.service
    u7s-api-proxy.service
    u7s-master.target
    u7s-node-approver.service
    u7s-kube-scheduler.service
    u7s-kube-controller-manager.service
    u7s-kube-apiserver.service
    u7s-etcd.target
    u7s-master-with-etcd.target
    u7s-etcd.service
    u7s-rootlesskit.service
    ");
}
