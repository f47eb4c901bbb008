//! The table itself.

use super::Service;
use crate::config::{Cni, Config, Cri, Target};

/// One service: how it runs, and how it depends on the others.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub service: Service,
    /// Its name: its program in `bin/`, the argument of `boot`, and with `u7s-` in front its unit and its name in the journal.
    pub name: &'static str,
    /// A few words about it for people.
    pub title: &'static str,
    /// The layer of `status` that it is.
    pub layer: &'static str,
    /// The part of a cluster it belongs to.
    pub part: Part,
    /// The target it belongs to and is stopped with.
    pub target: Target,
    /// Whether that target starts it again when it ends.
    pub upheld: bool,
    /// What it has to do with the container runtime.
    pub runtime: Runtime,
    /// It stops with these, and cannot run without them.
    pub binds: &'static [Service],
    /// It starts these as well.
    pub wants: &'static [Service],
    /// It starts after these and, since systemd reverses the order, stops before them.
    pub after: &'static [Service],
    /// Whether it tells the service manager when it is ready. Of those that do not, most are started by `boot` only after
    /// the API server is ready.
    pub notifies: bool,
    /// Exit codes that are no failure, besides 0 and death by SIGTERM. 143 is how a parent reports the latter.
    pub clean_exits: &'static [u8],
    /// How many seconds it may take to end before it is killed. One after the other they take less than the 90 seconds that
    /// a machine allows when it shuts down.
    pub stop_seconds: u8,
    /// The namespaces it runs in; `None` if it makes them.
    pub namespaces: Option<Namespaces>,
    /// Whether `boot` waits until the images that the bundle brings are loaded.
    pub after_images: bool,
    /// Whether `boot` waits until the API server is ready, and by which certificate it asks: a path below the configuration
    /// directory, without `.pem`.
    pub after_api: Option<&'static str>,
    /// Files with certificates that it reads only when it starts: paths below the configuration directory. etcd reads its
    /// certificates for every connection, the API server all of its own whenever they change.
    pub reads_at_start: &'static [&'static str],
}

impl Row {
    /// The services it cannot run without, or that it starts.
    pub fn needs(&self) -> impl Iterator<Item = Service> + use<> {
        self.binds.iter().chain(self.wants).copied()
    }
}

/// A part of a cluster. Which parts a machine has depends on its role and on the pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every machine has it.
    Base,
    /// The machines that decide.
    ControlPlane,
    /// The machines that run pods.
    Node,
    /// The machines that run pods, with this pod network.
    Network(Cni),
}

impl Part {
    /// Whether a machine with this configuration has it.
    #[must_use]
    pub fn belongs_to(self, config: &Config) -> bool {
        let node = config.cri != Cri::None;
        match self {
            // One machine is one cluster so far, so every machine decides.
            Self::Base | Self::ControlPlane => true,
            Self::Node => node,
            Self::Network(cni) => node && config.cni == cni,
        }
    }
}

/// What a service has to do with the container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Nothing.
    None,
    /// The runtime is its child.
    Child,
    /// The runtime is part of its unit's name.
    NamesUnit,
}

/// Which of RootlessKit's namespaces a program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// User and network. The program keeps the host's files and processes, so it can take the place of this process:
    /// its PID, its signals, its exit code and its notifications are the unit's own.
    Network,
    /// User, mount and network: the namespaces' files, too, and still this process's own PID, so that it can have threads.
    Files,
    /// All of them: user, mount, network, cgroup, PID, IPC, UTS. A process cannot change its own PID namespace, so
    /// the program becomes a child.
    All,
}

/// What most rows have in common.
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
/// The controller manager and the scheduler give up when the API server is not ready, which it says only at `/readyz`:
/// its notification to the service manager comes long before. The kubelet and kube-proxy could wait by themselves; but
/// the API server gives up when it does not get its first roles written within 30 seconds, and on a slow machine
/// it cannot if they start at the same time.
pub static SERVICES: [Row; 8] = [
    Row {
        service: Service::Rootlesskit,
        name: "rootlesskit",
        title: "RootlessKit",
        layer: "RootlessKit",
        part: Part::Base,
        // It serves whatever is up, and is stopped with everything. The services that need it start it again.
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
        // It ends with 1 when it is told to stop and runs without leader election.
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
        // It gives up while the kubelet has not registered the node.
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

/// What a node's services start after.
const AFTER_CONTROL_PLANE: &[Service] = &[
    Service::Rootlesskit,
    Service::KubeApiserver,
    Service::KubeControllerManager,
    Service::KubeScheduler,
];
