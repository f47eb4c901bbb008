//! The API server.

use super::etcd;
use crate::config::Config;
use crate::layout::{Credential, Layout};
use crate::render::Args;

/// The variable that tells Go's runtime how much garbage may gather, in percent of the memory in use, and its value here. It is 100
/// by default, with which an API server of 1.36.2 that has just started has 197 MB of its own, after 5.1 s of processor time; with
/// 50 it has 143, after 4.9 s, and with 30 it has 130, after 6.2 s.
pub const GARBAGE: (&str, &str) = ("GOGC", "50");

/// The API server's command line.
///
/// On a single machine it advertises its address in RootlessKit's network, so that pods reach it whether or not its port is
/// published. Otherwise it advertises the address of the machine, which is one of the namespaces' own addresses, too.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    let args = Args::of(layout, "kube-apiserver")
        .flag("secure-port", config.machines.api_port)
        .flag("advertise-address", config.address())
        .path("tls-cert-file", layout.certificate(Credential::ApiServer))
        .path("tls-private-key-file", layout.key(Credential::ApiServer))
        .flag("tls-min-version", "VersionTLS12")
        .path(
            "client-ca-file",
            layout.certificate(Credential::ClusterAuthority),
        )
        // No client needs anonymous requests: even `boot` uses a certificate to poll `/readyz`.
        .flag("anonymous-auth", false)
        .flag("authorization-mode", "Node,RBAC")
        .flag("enable-admission-plugins", "NodeRestriction")
        .flag("allow-privileged", true)
        .flag("profiling", false)
        .flag("etcd-servers", etcd::CLIENT_URL)
        .path("etcd-cafile", layout.certificate(Credential::EtcdAuthority))
        .path(
            "etcd-certfile",
            layout.certificate(Credential::ApiServerForEtcd),
        )
        .path("etcd-keyfile", layout.key(Credential::ApiServerForEtcd))
        .path(
            "kubelet-certificate-authority",
            layout.certificate(Credential::ClusterAuthority),
        )
        .path(
            "kubelet-client-certificate",
            layout.certificate(Credential::ApiServerForKubelet),
        )
        .path(
            "kubelet-client-key",
            layout.key(Credential::ApiServerForKubelet),
        )
        // The address comes first: RootlessKit's /etc/hosts maps the node's name to 127.0.0.1.
        .flag("kubelet-preferred-address-types", "InternalIP,Hostname")
        .path(
            "proxy-client-cert-file",
            layout.certificate(Credential::FrontProxy),
        )
        .path("proxy-client-key-file", layout.key(Credential::FrontProxy))
        .path(
            "requestheader-client-ca-file",
            layout.certificate(Credential::FrontProxyAuthority),
        )
        .flag("requestheader-allowed-names", "front-proxy-client")
        .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .flag("requestheader-group-headers", "X-Remote-Group")
        .flag("requestheader-username-headers", "X-Remote-User")
        .flag(
            "service-account-issuer",
            format!("https://kubernetes.default.svc.{}", config.cluster_domain),
        )
        .path(
            "service-account-key-file",
            layout.certificate(Credential::ServiceAccounts),
        )
        .path(
            "service-account-signing-key-file",
            layout.key(Credential::ServiceAccounts),
        )
        .flag("service-cluster-ip-range", config.network.services)
        // Without it, a single open watch delays the end of the API server by 60 seconds (seen with 1.36).
        .flag("shutdown-watch-termination-grace-period", "3s");
    if config.machines.is_joinable() {
        // With such a token, a machine that joins asks for its first certificate.
        args.flag("enable-bootstrap-token-auth", true).0
    } else {
        args.0
    }
}
