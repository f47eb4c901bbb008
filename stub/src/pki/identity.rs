//! The table of all identities: three authorities, the certificates that they issue, and the kubeconfigs made from these.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use Authority::{Cluster, Etcd, FrontProxy};
use Usage::{Both, Client, Server};

use super::san::San;
use super::{KUBELETS_CLIENT, NODE_APPROVER, NODE_USER, PORT_PUBLISHER, Request};
use crate::error::Result;
use crate::layout::{Credential, Kubeconfig};

/// One of the three certificate authorities. They are separate so that nobody can use a certificate for etcd or for the
/// front proxy to authenticate to the API server, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    Cluster,
    Etcd,
    FrontProxy,
}

impl Authority {
    pub(super) const ALL: [Self; 3] = [Self::Cluster, Self::Etcd, Self::FrontProxy];

    /// Its files.
    pub(super) fn credential(self) -> Credential {
        match self {
            Self::Cluster => Credential::ClusterAuthority,
            Self::Etcd => Credential::EtcdAuthority,
            Self::FrontProxy => Credential::FrontProxyAuthority,
        }
    }

    pub(super) fn common_name(self) -> &'static str {
        match self {
            Self::Cluster => "usernetes-ca",
            Self::Etcd => "usernetes-etcd-ca",
            Self::FrontProxy => "usernetes-front-proxy-ca",
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster authority",
            Self::Etcd => "etcd authority",
            Self::FrontProxy => "front-proxy authority",
        })
    }
}

/// Whether a certificate is for a server, a client or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
    Both,
}

impl Usage {
    pub(super) fn server(self) -> bool {
        self != Self::Client
    }

    pub(super) fn client(self) -> bool {
        self != Self::Server
    }
}

/// A certificate as it should be.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Its files.
    pub(super) credential: Credential,
    pub(super) authority: Authority,
    pub(super) usage: Usage,
    /// Kubernetes uses it as the user's name.
    pub(super) common_name: String,
    /// Kubernetes uses it as the user's group.
    pub(super) organisation: Option<&'static str>,
    pub(super) sans: BTreeSet<San>,
    /// Whether the certificate of its authority follows it in the file. A machine that joins knows the authority's key only
    /// by its digest, and takes the certificate from the server.
    pub(super) chained: bool,
}

/// A kubeconfig as it should be.
#[derive(Debug)]
pub(super) struct Access {
    /// Its file, and the leaf that it contains.
    pub(super) kubeconfig: Kubeconfig,
    pub(super) server: SocketAddr,
}

/// Every certificate of a single-node cluster. The names of users and groups are taken from the Kubernetes documentation
/// ("PKI certificates and requirements", "Using RBAC Authorization"), so that the API server's default bindings apply.
pub(super) fn leaves(request: &Request) -> Result<Vec<Leaf>> {
    use Credential::{
        Admin, ApiServer, ApiServerForEtcd, ApiServerForKubelet, ControllerManager, EtcdClient,
        EtcdPeer, Flannel, KubeProxy, MetricsServer, Ports, Scheduler,
    };
    let node = request.node_name.as_str();
    let local = local_names(node, request);
    let api = api_names(&local, request)?;
    let metrics = service_names("metrics-server", "kube-system", request);
    let mut api_server = Leaf::new(ApiServer, Cluster, "kube-apiserver").serves(Server, &api);
    api_server.chained = request.address.is_some();
    let mut leaves = vec![
        api_server,
        // It may use the kubelet and nothing else: `components::rbac` binds this user to `system:kubelet-api-admin`.
        Leaf::new(ApiServerForKubelet, Cluster, KUBELETS_CLIENT),
        Leaf::new(ApiServerForEtcd, Etcd, "kube-apiserver-etcd-client"),
        Leaf::new(Credential::FrontProxy, FrontProxy, "front-proxy-client"),
        // etcd's own gateway connects to etcd with the serving certificate, so this one is for clients, too.
        Leaf::new(Credential::Etcd, Etcd, "etcd").serves(Both, &local),
        Leaf::new(EtcdPeer, Etcd, "etcd-peer").serves(Both, &local),
        Leaf::new(EtcdClient, Etcd, "etcd-client"),
        Leaf::new(Admin, Cluster, "kubernetes-admin").of(ADMINISTRATORS),
        Leaf::new(ControllerManager, Cluster, "system:kube-controller-manager"),
        Leaf::new(Scheduler, Cluster, "system:kube-scheduler"),
        // `components::rbac` lets it read services and pods, and write the addresses of services.
        Leaf::new(Ports, Cluster, PORT_PUBLISHER),
        // The API server passes requests for metrics on to it.
        Leaf::new(MetricsServer, Cluster, "metrics-server").serves(Server, &metrics),
    ];
    leaves.extend(node_leaves(node, &local));
    leaves.extend([
        Leaf::new(KubeProxy, Cluster, "system:kube-proxy"),
        Leaf::new(Flannel, Cluster, "system:flannel"),
    ]);
    if request.address.is_some() {
        leaves.push(Leaf::new(Credential::NodeApprover, Cluster, NODE_APPROVER));
    }
    Ok(leaves)
}

/// Both certificates of a node: its kubelet is reached at these names with the first, and connects with the second.
pub(super) fn node_leaves(node: &str, names: &BTreeSet<San>) -> [Leaf; 2] {
    let user = format!("{NODE_USER}{node}");
    [
        Leaf::new(Credential::Kubelet, Cluster, &user)
            .of(NODES)
            .serves(Server, names),
        Leaf::new(Credential::KubeletClient, Cluster, &user).of(NODES),
    ]
}

/// Every kubeconfig.
pub(super) fn accesses(request: &Request) -> Vec<Access> {
    let published = SocketAddr::from((Ipv4Addr::LOCALHOST, request.api_port));
    Kubeconfig::ALL
        .map(|kubeconfig| Access {
            kubeconfig,
            server: match kubeconfig {
                Kubeconfig::Admin | Kubeconfig::Ports => published,
                _ => request.component_server,
            },
        })
        .into()
}

const ADMINISTRATORS: &str = "system:masters";
pub(super) const NODES: &str = "system:nodes";

impl Leaf {
    /// A certificate for a client.
    fn new(credential: Credential, authority: Authority, common_name: &str) -> Self {
        Self {
            credential,
            authority,
            usage: Client,
            common_name: common_name.to_owned(),
            organisation: None,
            sans: BTreeSet::new(),
            chained: false,
        }
    }

    /// Whether others than the components of this machine verify it. While the authorities are replaced, it stays one of the
    /// old authority to the end: until then, machines and pods may know only that.
    pub(super) fn is_shown_to_others(&self) -> bool {
        use Credential::{ApiServer, ApiServerForKubelet};
        matches!(
            self.credential,
            ApiServer | ApiServerForKubelet | Credential::FrontProxy
        )
    }

    fn of(mut self, organisation: &'static str) -> Self {
        self.organisation = Some(organisation);
        self
    }

    fn serves(mut self, usage: Usage, sans: &BTreeSet<San>) -> Self {
        self.usage = usage;
        self.sans.clone_from(sans);
        self
    }
}

/// The names and addresses at which the services of this node are reached.
fn local_names(node: &str, request: &Request) -> BTreeSet<San> {
    let addresses = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
        request.child_ip,
    ];
    ["localhost", node]
        .map(|name| San::Dns(name.to_owned()))
        .into_iter()
        .chain(addresses.map(San::Ip))
        .chain(request.address.map(San::Ip))
        .collect()
}

/// The names by which the API server reaches a service of the cluster.
fn service_names(service: &str, namespace: &str, request: &Request) -> BTreeSet<San> {
    let short = format!("{service}.{namespace}.svc");
    let long = format!("{short}.{}", request.cluster_domain);
    [short, long].into_iter().map(San::Dns).collect()
}

/// The names and addresses at which the API server is reached. It also has those of its service, and those where its port
/// is published.
fn api_names(local: &BTreeSet<San>, request: &Request) -> Result<BTreeSet<San>> {
    let domain = &request.cluster_domain;
    let mut names = local.clone();
    names.insert(San::Ip(request.service_ip));
    for service in ["kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        names.insert(San::Dns(service.to_owned()));
    }
    names.insert(San::Dns(format!("kubernetes.default.svc.{domain}")));
    for name in &request.extra_sans {
        names.insert(San::parse(name).map_err(|e| e.about("additional name of the API server"))?);
    }
    Ok(names)
}

/// Refuses addresses in a request that clients cannot connect to.
pub(super) fn check_addresses(request: &Request) -> Result<()> {
    let check = |what: &str, ip: IpAddr| {
        San::parse(&ip.to_string())
            .map(drop)
            .map_err(|e| e.about(what))
    };
    check("service address of the API server", request.service_ip)?;
    check("address in the RootlessKit network", request.child_ip)
}
