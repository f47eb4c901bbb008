//! The scheduler.

use crate::layout::Layout;
use crate::render::Args;

/// The scheduler's command line. Start it only after the API server's `/readyz` has succeeded.
#[must_use]
pub fn args(layout: &Layout) -> Vec<String> {
    let kubeconfig = layout.master("kube-scheduler.kubeconfig");
    Args::of(layout, "kube-scheduler")
        .path("kubeconfig", &kubeconfig)
        .path("authentication-kubeconfig", &kubeconfig)
        .path("authorization-kubeconfig", &kubeconfig)
        .flag("bind-address", "127.0.0.1")
        .flag("tls-min-version", "VersionTLS12")
        .flag("leader-elect", false)
        .0
}
