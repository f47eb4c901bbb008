//! The table of services.

use super::Service;
use crate::config::{Cni, Config, Cri, Target};
use crate::layout::Kubeconfig;

/// One service: how it runs, and how it depends on the others.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each column answers one question"
)]
pub struct Row {
    /// The service that this row describes.
    pub service: Service,
    /// Its name. Its program in `bin/` has this name, `boot` takes it as an argument, and its unit and its lines in the
    /// journal have it with `u7s-` in front.
    pub name: &'static str,
    /// Its name for people, used in the description of its unit.
    pub title: &'static str,
    /// The name of its layer in `status`.
    pub layer: &'static str,
    /// The part of a cluster that it belongs to.
    pub part: Part,
    /// The target that it belongs to. It is stopped when this target is stopped.
    pub target: Target,
    /// Whether that target starts it again when it ends.
    pub upheld: bool,
    /// Whether RootlessKit starts it, whatever else is started. No other service needs it: without it, the cluster works,
    /// but not all of it.
    pub beside: bool,
    /// Whether its program is this one, which every bundle has.
    pub own: bool,
    /// How it is related to the container runtime.
    pub runtime: Runtime,
    /// The services that it cannot run without. When one of them stops, it stops, too.
    pub binds: &'static [Service],
    /// Further services that are started with it.
    pub wants: &'static [Service],
    /// The services that it starts after. systemd stops in the reverse order, so it stops before them.
    pub after: &'static [Service],
    /// Whether it tells the service manager when it is ready. `boot` starts most of the others only after the API server
    /// is ready.
    pub notifies: bool,
    /// The exit codes that are not a failure, besides 0 and an end by SIGTERM. A parent reports the latter as 143.
    pub clean_exits: &'static [u8],
    /// How many seconds it may take to stop before it is killed. All services, stopped one after the other, take less than
    /// the 90 seconds that a machine allows when it shuts down.
    pub stop_seconds: u8,
    /// How much memory, in MiB, the kernel takes from it only when there is no other. It is what the service needs in a busy
    /// cluster. 0 for none.
    pub memory_low_mebibytes: u16,
    /// The namespaces that it runs in; `None` if it creates them.
    pub namespaces: Option<Namespaces>,
    /// Whether `boot` waits until the images of the bundle are loaded.
    pub after_images: bool,
    /// The kubeconfig with which it connects to the API server, see [`Service::kubeconfig`]. It reads this file only when it starts. Before that, `boot`
    /// waits until the API server is ready.
    pub kubeconfig: Option<Kubeconfig>,
    /// How many days it may run, if it has a certificate in its memory that only a restart renews.
    pub longest_days: Option<u16>,
}

impl Row {
    /// The services that it cannot run without, and those that are started with it.
    pub fn needs(&self) -> impl Iterator<Item = Service> + use<> {
        self.binds.iter().chain(self.wants).copied()
    }
}

/// A part of a cluster. Which parts a machine has depends on its role and on the pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The part that every machine has.
    Base,
    /// The part that only machines with a control plane have.
    ControlPlane,
    /// The part that only machines have whose cluster other machines can join.
    Joinable,
    /// The part that only machines without a control plane have.
    Worker,
    /// The part that only machines which run pods have.
    Node,
    /// The part that only machines which run pods with this pod network have.
    Network(Cni),
}

impl Part {
    /// Whether a machine with this configuration has this part.
    #[must_use]
    pub fn belongs_to(self, config: &Config) -> bool {
        let node = config.cri != Cri::None;
        match self {
            Self::Base => true,
            Self::ControlPlane => !config.machines.is_worker(),
            Self::Joinable => config.machines.is_joinable(),
            Self::Worker => config.machines.is_worker(),
            Self::Node => node,
            Self::Network(cni) => node && config.cni == cni,
        }
    }
}

/// How a service is related to the container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// It is not.
    None,
    /// It runs the container runtime as a child.
    Child,
    /// The name of its unit contains the name of the container runtime.
    NamesUnit,
}

/// Which of RootlessKit's namespaces a program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// None of them: it stays on the host.
    Host,
    /// User and network. The program sees the host's files and processes, so it can replace the process of `boot`. Then it
    /// is the main process of the unit, which receives its signals, its exit code and its notifications directly.
    Network,
    /// User, mount and network: it also sees the files of the namespaces. It stays in the host's PID namespace and can
    /// therefore start threads.
    Files,
    /// All of them: user, mount, network, cgroup, PID, IPC and UTS. A process cannot change its own PID namespace, so `boot`
    /// runs the program as a child.
    All,
}

/// The values that most rows have in common.
const COMMON: Row = Row {
    service: Service::Rootlesskit,
    name: "",
    title: "",
    layer: "",
    part: Part::ControlPlane,
    target: Target::Master,
    upheld: true,
    beside: false,
    own: false,
    runtime: Runtime::None,
    binds: &[Service::Rootlesskit],
    wants: &[],
    after: &[Service::Rootlesskit],
    notifies: false,
    clean_exits: &[143],
    stop_seconds: 10,
    memory_low_mebibytes: 64,
    namespaces: Some(Namespaces::Network),
    after_images: false,
    kubeconfig: None,
    longest_days: None,
};

/// All services, in the order they start.
///
/// The controller manager and the scheduler exit if the API server is not ready. Only its `/readyz` says whether it is: it
/// notifies the service manager long before. The kubelet and kube-proxy would wait for the API server. But the API server
/// exits if it cannot write its first roles within 30 seconds, and on a slow machine it cannot if those two start at the
/// same time.
///
/// No service must restart when its certificate is renewed in time:
///
/// * The API server looks at its serving certificate every minute, and at once if the kernel tells it of a change
///   (apiserver, `dynamiccertificates/dynamic_serving_content.go`); at its certificate for other API servers, too
///   (kube-aggregator, `apiserver.go`). It reads its certificates for etcd and for kubelets for every new connection.
/// * etcd reads its certificates for every new connection (`client/pkg/transport/listener.go`).
/// * The kubelet looks at its serving certificate as the API server does, since 1.31 by default
///   (`ReloadKubeletServerCertificateFile`).
/// * All clients with a kubeconfig that names files look at their certificates every five minutes, and then close their old
///   connections (client-go, `transport/cert_rotation.go`, since 1.20; also the one in flannel).
///
/// Certificates of authorities are another matter: only client-go 1.36 and later reads them again.
pub static SERVICES: [Row; 11] = [
    Row {
        service: Service::Rootlesskit,
        name: "rootlesskit",
        title: "RootlessKit",
        layer: "RootlessKit",
        part: Part::Base,
        // All other services need it and start it again, so it is stopped only when everything is stopped.
        target: Target::All,
        upheld: false,
        runtime: Runtime::Child,
        binds: &[],
        after: &[],
        notifies: true,
        stop_seconds: 20,
        // All pods are below its control group.
        memory_low_mebibytes: 0,
        namespaces: None,
        ..COMMON
    },
    Row {
        service: Service::Etcd,
        name: "etcd",
        title: "etcd",
        layer: "etcd",
        target: Target::Etcd,
        notifies: true,
        memory_low_mebibytes: 256,
        ..COMMON
    },
    Row {
        service: Service::KubeApiserver,
        name: "kube-apiserver",
        title: "kube-apiserver",
        layer: "API server",
        wants: &[Service::Etcd],
        after: &[Service::Rootlesskit, Service::Etcd],
        notifies: true,
        stop_seconds: 15,
        // Its certificate for connections to itself is valid for three years in Kubernetes 1.36, and for one year in
        // earlier releases (apiserver, `options/serving_with_loopback.go`).
        longest_days: Some(300),
        memory_low_mebibytes: 512,
        ..COMMON
    },
    Row {
        service: Service::KubeControllerManager,
        name: "kube-controller-manager",
        title: "kube-controller-manager",
        layer: "controllers",
        after: &[Service::Rootlesskit, Service::KubeApiserver],
        kubeconfig: Some(Kubeconfig::ControllerManager),
        ..COMMON
    },
    Row {
        service: Service::KubeScheduler,
        name: "kube-scheduler",
        title: "kube-scheduler",
        layer: "scheduler",
        after: &[Service::Rootlesskit, Service::KubeApiserver],
        // Without leader election, it exits with 1 when it is told to stop.
        clean_exits: &[1, 143],
        kubeconfig: Some(Kubeconfig::Scheduler),
        ..COMMON
    },
    Row {
        service: Service::NodeApprover,
        name: "node-approver",
        own: true,
        title: "approver of machines that join",
        layer: "approver",
        part: Part::Joinable,
        after: &[Service::Rootlesskit, Service::KubeApiserver],
        memory_low_mebibytes: 0,
        kubeconfig: Some(Kubeconfig::NodeApprover),
        ..COMMON
    },
    Row {
        service: Service::ApiProxy,
        name: "api-proxy",
        own: true,
        title: "way to the API servers",
        layer: "way to the API servers",
        part: Part::Worker,
        target: Target::Node,
        notifies: true,
        memory_low_mebibytes: 0,
        // It is what the others reach the API server by, so it waits for nothing.
        ..COMMON
    },
    Row {
        service: Service::Kubelet,
        name: "kubelet",
        title: "kubelet",
        layer: "kubelet",
        part: Part::Node,
        target: Target::Node,
        runtime: Runtime::NamesUnit,
        wants: &[Service::ApiProxy],
        after: AFTER_CONTROL_PLANE,
        notifies: true,
        namespaces: Some(Namespaces::All),
        after_images: true,
        kubeconfig: Some(Kubeconfig::Kubelet),
        ..COMMON
    },
    Row {
        service: Service::KubeProxy,
        name: "kube-proxy",
        title: "kube-proxy",
        layer: "service network",
        part: Part::Node,
        target: Target::Node,
        wants: &[Service::ApiProxy],
        after: AFTER_CONTROL_PLANE,
        namespaces: Some(Namespaces::All),
        kubeconfig: Some(Kubeconfig::KubeProxy),
        ..COMMON
    },
    Row {
        service: Service::Flanneld,
        name: "flanneld",
        title: "flanneld",
        layer: "pod network",
        part: Part::Network(Cni::Flannel),
        target: Target::Node,
        wants: &[Service::ApiProxy],
        // It exits if the kubelet has not registered the node yet.
        after: &[
            Service::Rootlesskit,
            Service::KubeApiserver,
            Service::ApiProxy,
            Service::Kubelet,
        ],
        notifies: true,
        namespaces: Some(Namespaces::Files),
        kubeconfig: Some(Kubeconfig::Flannel),
        ..COMMON
    },
    Row {
        service: Service::Ports,
        name: "ports",
        title: "published ports",
        layer: "ports",
        part: Part::Base,
        target: Target::All,
        upheld: false,
        beside: true,
        own: true,
        memory_low_mebibytes: 0,
        // RootlessKit opens the ports on the host, and answers on a socket there.
        namespaces: Some(Namespaces::Host),
        ..COMMON
    },
];

/// The services that most services of a node start after.
const AFTER_CONTROL_PLANE: &[Service] = &[
    Service::Rootlesskit,
    Service::KubeApiserver,
    Service::KubeControllerManager,
    Service::KubeScheduler,
    Service::ApiProxy,
];
