//! The API server.

use super::etcd;
use crate::config::{API_PORT, Config};
use crate::layout::Layout;
use crate::render::Args;

/// The API server's command line.
///
/// It advertises its address in RootlessKit's network, so that pods reach it whether or not its port is published.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    Args::of(layout, "kube-apiserver")
        .flag("secure-port", API_PORT)
        .flag("advertise-address", config.node_ip())
        .path("tls-cert-file", layout.master("kube-apiserver.pem"))
        .path(
            "tls-private-key-file",
            layout.master("kube-apiserver-key.pem"),
        )
        .flag("tls-min-version", "VersionTLS12")
        .path("client-ca-file", layout.master("ca.pem"))
        // No client needs anonymous requests: even `boot` uses a certificate to poll `/readyz`.
        .flag("anonymous-auth", false)
        .flag("authorization-mode", "Node,RBAC")
        .flag("enable-admission-plugins", "NodeRestriction")
        .flag("allow-privileged", true)
        .flag("profiling", false)
        .flag("etcd-servers", etcd::CLIENT_URL)
        .path("etcd-cafile", layout.master("etcd-ca.pem"))
        .path(
            "etcd-certfile",
            layout.master("kube-apiserver-etcd-client.pem"),
        )
        .path(
            "etcd-keyfile",
            layout.master("kube-apiserver-etcd-client-key.pem"),
        )
        .path("kubelet-certificate-authority", layout.master("ca.pem"))
        .path(
            "kubelet-client-certificate",
            layout.master("apiserver-kubelet-client.pem"),
        )
        .path(
            "kubelet-client-key",
            layout.master("apiserver-kubelet-client-key.pem"),
        )
        // The address comes first: RootlessKit's /etc/hosts maps the node's name to 127.0.0.1.
        .flag("kubelet-preferred-address-types", "InternalIP,Hostname")
        .path(
            "proxy-client-cert-file",
            layout.master("front-proxy-client.pem"),
        )
        .path(
            "proxy-client-key-file",
            layout.master("front-proxy-client-key.pem"),
        )
        .path(
            "requestheader-client-ca-file",
            layout.master("front-proxy-ca.pem"),
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
            layout.master("service-account.pem"),
        )
        .path(
            "service-account-signing-key-file",
            layout.master("service-account-key.pem"),
        )
        .flag("service-cluster-ip-range", config.network.services)
        // Without it, a single open watch delays the end of the API server by 60 seconds (seen with 1.36).
        .flag("shutdown-watch-termination-grace-period", "3s")
        .0
}
