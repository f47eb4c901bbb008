//! The controller manager.

use super::kubelet;
use crate::config::Config;
use crate::layout::Layout;
use crate::render::Args;

/// The controller manager's command line. Without leader election, it exits if the API server is not ready within ten
/// seconds, so start it only after `/readyz` has succeeded.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    let kubeconfig = layout.master("kube-controller-manager.kubeconfig");
    let args = Args::of(layout, "kube-controller-manager")
        .path("kubeconfig", &kubeconfig)
        .path("authentication-kubeconfig", &kubeconfig)
        .path("authorization-kubeconfig", &kubeconfig)
        .flag("bind-address", "127.0.0.1")
        .flag("tls-min-version", "VersionTLS12")
        .flag("profiling", false)
        .flag("leader-elect", false)
        .flag("cluster-name", "kubernetes")
        .path("cluster-signing-cert-file", layout.master("ca.pem"))
        .path("cluster-signing-key-file", layout.master("ca-key.pem"))
        .path("root-ca-file", layout.master("ca.pem"))
        .path(
            "service-account-private-key-file",
            layout.master("service-account-key.pem"),
        )
        .flag("use-service-account-credentials", true)
        // The default is below /usr, where only root can create it.
        .path("flex-volume-plugin-dir", kubelet::volume_plugins(layout));
    let args = if config.cni.facts().network_per_node {
        args.flag("allocate-node-cidrs", true)
            .flag("cluster-cidr", config.network.pods)
            .flag("service-cluster-ip-range", config.network.services)
    } else {
        args
    };
    args.0
}
