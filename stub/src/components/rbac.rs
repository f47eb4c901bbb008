//! Bindings that Kubernetes does not create by itself. When the API server starts, it creates those of kube-proxy, the
//! kubelet, the controller manager and the scheduler (Kubernetes documentation, "Using RBAC Authorization", default roles
//! and role bindings).

use serde_json::{Value, json};

use super::joining;
use crate::config::Config;
use crate::network;
use crate::pki::{KUBELETS_CLIENT, PORT_PUBLISHER};
use crate::render::{cluster_role, cluster_role_binding, user};

/// The role of the service that publishes ports.
const PORTS: &str = "u7s:ports";

/// The objects to apply once the API server is ready.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    // For `kubectl logs` and `kubectl exec`, the API server needs permission to use the kubelet.
    let mut items = vec![cluster_role_binding(
        "u7s:kubelet-api-admin",
        "system:kubelet-api-admin",
        &user(KUBELETS_CLIENT),
    )];
    // It looks after services that ask for a port of the node.
    items.push(cluster_role(
        PORTS,
        &json!([
            { "apiGroups": [""], "resources": ["services", "pods"], "verbs": ["list", "watch"] },
            { "apiGroups": [""], "resources": ["services/status"], "verbs": ["patch"] },
        ]),
    ));
    items.push(cluster_role_binding(PORTS, PORTS, &user(PORT_PUBLISHER)));
    items.extend(network::objects(config));
    if config.machines.is_joinable() {
        items.extend(joining::permissions());
    }
    items
}
