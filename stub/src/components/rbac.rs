//! Bindings that Kubernetes does not make by itself. kube-proxy, the kubelet, the controller manager and the scheduler
//! have theirs from the API server's own start ("Using RBAC Authorization", default roles and role bindings).

use serde_json::Value;

use crate::config::Config;
use crate::network;
use crate::render::{cluster_role_binding, user};

/// The objects to apply once the API server is ready.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    // `kubectl logs` and `exec`: the kubelet asks whether the API server may.
    let mut items = vec![cluster_role_binding(
        "u7s:kubelet-api-admin",
        "system:kubelet-api-admin",
        &user("kube-apiserver-kubelet-client"),
    )];
    items.extend(network::objects(config));
    items
}
