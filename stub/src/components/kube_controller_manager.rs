//! The controller manager.

use std::path::PathBuf;

use super::kubelet;
use crate::config::Config;
use crate::layout::{Credential, Kubeconfig, Layout};
use crate::render::{Args, ConfigFile};

/// The certificate with which it signs. The file of the authority may have two, and it refuses a file that has not exactly one
/// (kubernetes, `pkg/controller/certificates/signer/ca_provider.go`).
fn signing_file(layout: &Layout) -> PathBuf {
    layout.runtime("signing-ca.pem")
}

/// Its configuration files. `signing` is the certificate, as PEM, of the authority that issues certificates.
#[must_use]
pub fn files(layout: &Layout, signing: String) -> Vec<ConfigFile> {
    vec![(signing_file(layout), signing)]
}

/// The controller manager's command line. Without leader election, it exits if the API server is not ready within ten
/// seconds, so start it only after `/readyz` has succeeded.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(Kubeconfig::ControllerManager);
    let args = Args::of(layout, "kube-controller-manager")
        .path("kubeconfig", &kubeconfig)
        .path("authentication-kubeconfig", &kubeconfig)
        .path("authorization-kubeconfig", &kubeconfig)
        .flag("bind-address", "127.0.0.1")
        .flag("tls-min-version", "VersionTLS12")
        .flag("profiling", false)
        .flag("leader-elect", config.machines.several_control_planes)
        // The default, 20 a second after the first 30, is what a start waits for: three for each of some forty controllers, before
        // the first one works. The API server has a limit of its own.
        .flag("kube-api-qps", 150)
        .flag("kube-api-burst", 300)
        .flag("cluster-name", "kubernetes")
        .path("cluster-signing-cert-file", signing_file(layout))
        .path(
            "cluster-signing-key-file",
            layout.key(Credential::ClusterAuthority),
        )
        .path(
            "root-ca-file",
            layout.certificate(Credential::ClusterAuthority),
        )
        .path(
            "service-account-private-key-file",
            layout.key(Credential::ServiceAccounts),
        )
        .flag("use-service-account-credentials", true)
        // The default is below /usr, where only root can create it.
        .path("flex-volume-plugin-dir", kubelet::volume_plugins(layout));
    // It removes bootstrap tokens that have expired. `*` is what is on by default.
    let args = if config.machines.is_joinable() {
        args.flag("controllers", "*,tokencleaner")
    } else {
        args
    };
    let args = if config.cni.facts().network_per_node {
        args.flag("allocate-node-cidrs", true)
            .flag("cluster-cidr", config.network.pods)
            .flag("service-cluster-ip-range", config.network.services)
    } else {
        args
    };
    args.0
}
