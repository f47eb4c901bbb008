//! The scheduler.

use crate::config::Config;
use crate::layout::{Kubeconfig, Layout};
use crate::render::Args;

/// The scheduler's command line. Start it only after the API server's `/readyz` has succeeded.
#[must_use]
pub fn args(layout: &Layout, config: &Config) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(Kubeconfig::Scheduler);
    Args::of(layout, "kube-scheduler")
        .path("kubeconfig", &kubeconfig)
        .path("authentication-kubeconfig", &kubeconfig)
        .path("authorization-kubeconfig", &kubeconfig)
        .flag("bind-address", "127.0.0.1")
        .flag("tls-min-version", "VersionTLS12")
        .flag("profiling", false)
        .flag("leader-elect", config.machines.several_control_planes)
        .0
}
