//! Bindings that Kubernetes does not create by itself. When the API server starts, it creates those of kube-proxy, the
//! kubelet, the controller manager and the scheduler (Kubernetes documentation, "Using RBAC Authorization", default roles
//! and role bindings).

use serde_json::Value;

use crate::config::Config;
use crate::network;
use crate::render::{cluster_role_binding, user};

/// The objects to apply once the API server is ready.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    // For `kubectl logs` and `kubectl exec`, the API server needs permission to use the kubelet.
    let mut items = vec![cluster_role_binding(
        "u7s:kubelet-api-admin",
        "system:kubelet-api-admin",
        &user("kube-apiserver-kubelet-client"),
    )];
    items.extend(network::objects(config));
    items
}
