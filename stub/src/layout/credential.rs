//! The files of the PKI: certificates, keys and kubeconfigs. Nothing else names them.

use std::path::PathBuf;

use super::{MASTER, NODE};

/// A certificate and its private key. Their names and places are those of the shell-script Usernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credential {
    /// The cluster authority.
    ClusterAuthority,
    /// The authority of etcd and its clients.
    EtcdAuthority,
    /// The authority of the front proxy.
    FrontProxyAuthority,
    /// The node's copy of the cluster authority's certificate. It has no key.
    NodeAuthority,
    /// The API server's serving certificate.
    ApiServer,
    /// The API server's client certificate for the kubelet.
    ApiServerForKubelet,
    /// The API server's client certificate for etcd.
    ApiServerForEtcd,
    /// The API server's client certificate for other API servers that it passes requests to.
    FrontProxy,
    /// etcd's serving certificate.
    Etcd,
    /// etcd's certificate for other members.
    EtcdPeer,
    /// The client certificate of `etcdctl`.
    EtcdClient,
    /// The administrator's client certificate.
    Admin,
    /// The controller manager's client certificate.
    ControllerManager,
    /// The scheduler's client certificate.
    Scheduler,
    /// The key pair for tokens of service accounts. In place of a certificate it has a public key.
    ServiceAccounts,
    /// The client certificate of the service that publishes ports.
    Ports,
    /// The serving certificate of metrics-server. Its pod gets it as a secret.
    MetricsServer,
    /// The kubelet's serving certificate.
    Kubelet,
    /// The kubelet's client certificate.
    KubeletClient,
    /// kube-proxy's client certificate.
    KubeProxy,
    /// flannel's client certificate.
    Flannel,
    /// The client certificate of the approver of machines that join.
    NodeApprover,
}

impl Credential {
    /// The directory of its files in the configuration directory: [`MASTER`] or [`NODE`].
    #[must_use]
    pub fn directory(self) -> &'static str {
        self.place().0
    }

    /// Its certificate, relative to the configuration directory.
    #[must_use]
    pub fn certificate(self) -> PathBuf {
        self.file(".pem")
    }

    /// Its private key, relative to the configuration directory.
    #[must_use]
    pub fn key(self) -> PathBuf {
        self.file("-key.pem")
    }

    fn file(self, end: &str) -> PathBuf {
        let (directory, stem) = self.place();
        PathBuf::from(directory).join(format!("{stem}{end}"))
    }

    /// The directory and the first part of the names of its files.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::ClusterAuthority => (MASTER, "ca"),
            Self::EtcdAuthority => (MASTER, "etcd-ca"),
            Self::FrontProxyAuthority => (MASTER, "front-proxy-ca"),
            Self::NodeAuthority => (NODE, "ca"),
            Self::ApiServer => (MASTER, "kube-apiserver"),
            Self::ApiServerForKubelet => (MASTER, "apiserver-kubelet-client"),
            Self::ApiServerForEtcd => (MASTER, "kube-apiserver-etcd-client"),
            Self::FrontProxy => (MASTER, "front-proxy-client"),
            Self::Etcd => (MASTER, "etcd"),
            Self::EtcdPeer => (MASTER, "etcd-peer"),
            Self::EtcdClient => (MASTER, "etcd-client"),
            Self::Admin => (MASTER, "admin"),
            Self::ControllerManager => (MASTER, "kube-controller-manager"),
            Self::Scheduler => (MASTER, "kube-scheduler"),
            Self::ServiceAccounts => (MASTER, "service-account"),
            Self::Ports => (MASTER, "ports"),
            Self::MetricsServer => (MASTER, "metrics-server"),
            Self::Kubelet => (NODE, "node"),
            Self::KubeletClient => (NODE, "node-client"),
            Self::KubeProxy => (NODE, "kube-proxy"),
            Self::Flannel => (NODE, "flannel"),
            Self::NodeApprover => (MASTER, "node-approver"),
        }
    }
}

/// A kubeconfig: the address of the API server, and the credential with which to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kubeconfig {
    /// The administrator's. It is for use on the host itself.
    Admin,
    /// The controller manager's.
    ControllerManager,
    /// The scheduler's.
    Scheduler,
    /// The kubelet's.
    Kubelet,
    /// kube-proxy's.
    KubeProxy,
    /// flannel's.
    Flannel,
    /// That of the service that publishes ports.
    Ports,
    /// That of the approver of machines that join.
    NodeApprover,
}

impl Kubeconfig {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Admin,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Flannel,
        Self::Ports,
        Self::NodeApprover,
    ];

    /// The credential with which it connects. Its files are in the same directory.
    #[must_use]
    pub fn credential(self) -> Credential {
        match self {
            Self::Admin => Credential::Admin,
            Self::ControllerManager => Credential::ControllerManager,
            Self::Scheduler => Credential::Scheduler,
            Self::Kubelet => Credential::KubeletClient,
            Self::KubeProxy => Credential::KubeProxy,
            Self::Flannel => Credential::Flannel,
            Self::Ports => Credential::Ports,
            Self::NodeApprover => Credential::NodeApprover,
        }
    }

    /// The authority of the API server, whose certificate is in the same directory.
    #[must_use]
    pub fn authority(self) -> Credential {
        if self.credential().directory() == MASTER {
            Credential::ClusterAuthority
        } else {
            Credential::NodeAuthority
        }
    }

    /// The file, relative to the configuration directory.
    #[must_use]
    pub fn file(self) -> PathBuf {
        let name = match self {
            Self::Admin => "admin-localhost",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "node",
            Self::KubeProxy => "kube-proxy",
            Self::Flannel => "flannel",
            Self::Ports => "ports",
            Self::NodeApprover => "node-approver",
        };
        PathBuf::from(self.credential().directory()).join(format!("{name}.kubeconfig"))
    }
}
