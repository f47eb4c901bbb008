//! The table of services.

use super::Service;
use crate::config::{Cni, Config, Cri, Target};

/// One service: how it runs, and how it depends on the others.
#[derive(Debug)]
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
    /// The namespaces that it runs in; `None` if it creates them.
    pub namespaces: Option<Namespaces>,
    /// Whether `boot` waits until the images of the bundle are loaded.
    pub after_images: bool,
    /// If `boot` waits until the API server is ready: the certificate with which it asks the API server, as a path below
    /// the configuration directory, without `.pem`.
    pub after_api: Option<&'static str>,
    /// The files with certificates that it reads only when it starts, as paths below the configuration directory. Not
    /// those of etcd, which reads its certificates for every connection, and of the API server, which reads all of its
    /// certificates again when they change.
    pub reads_at_start: &'static [&'static str],
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
            // A cluster is a single machine so far, so every machine has a control plane.
            Self::Base | Self::ControlPlane => true,
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
    runtime: Runtime::None,
    binds: &[Service::Rootlesskit],
    wants: &[],
    after: &[Service::Rootlesskit],
    notifies: false,
    clean_exits: &[143],
    stop_seconds: 10,
    namespaces: Some(Namespaces::Network),
    after_images: false,
    after_api: None,
    reads_at_start: &[],
};

/// All services, in the order they start.
///
/// The controller manager and the scheduler exit if the API server is not ready. Only its `/readyz` says whether it is: it
/// notifies the service manager long before. The kubelet and kube-proxy would wait for the API server. But the API server
/// exits if it cannot write its first roles within 30 seconds, and on a slow machine it cannot if those two start at the
/// same time.
pub static SERVICES: [Row; 8] = [
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
        ..COMMON
    },
    Row {
        service: Service::KubeControllerManager,
        name: "kube-controller-manager",
        title: "kube-controller-manager",
        layer: "controllers",
        after: &[Service::Rootlesskit, Service::KubeApiserver],
        after_api: Some("master/kube-controller-manager"),
        reads_at_start: &["master/kube-controller-manager.kubeconfig"],
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
        after_api: Some("master/kube-scheduler"),
        reads_at_start: &["master/kube-scheduler.kubeconfig"],
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
        after: AFTER_CONTROL_PLANE,
        notifies: true,
        namespaces: Some(Namespaces::All),
        after_images: true,
        after_api: Some("node/node-client"),
        reads_at_start: &["node/node.kubeconfig", "node/node.pem"],
        ..COMMON
    },
    Row {
        service: Service::KubeProxy,
        name: "kube-proxy",
        title: "kube-proxy",
        layer: "service network",
        part: Part::Node,
        target: Target::Node,
        after: AFTER_CONTROL_PLANE,
        namespaces: Some(Namespaces::All),
        after_api: Some("node/kube-proxy"),
        reads_at_start: &["node/kube-proxy.kubeconfig"],
        ..COMMON
    },
    Row {
        service: Service::Flanneld,
        name: "flanneld",
        title: "flanneld",
        layer: "pod network",
        part: Part::Network(Cni::Flannel),
        target: Target::Node,
        // It exits if the kubelet has not registered the node yet.
        after: &[
            Service::Rootlesskit,
            Service::KubeApiserver,
            Service::Kubelet,
        ],
        notifies: true,
        namespaces: Some(Namespaces::Files),
        reads_at_start: &["node/flannel.kubeconfig"],
        ..COMMON
    },
];

/// The services that most services of a node start after.
const AFTER_CONTROL_PLANE: &[Service] = &[
    Service::Rootlesskit,
    Service::KubeApiserver,
    Service::KubeControllerManager,
    Service::KubeScheduler,
];
