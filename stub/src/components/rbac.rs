//! Bindings that Kubernetes does not make by itself. kube-proxy, the kubelet, the controller manager and the scheduler
//! have theirs from the API server's own start ("Using RBAC Authorization", default roles and role bindings).

use serde_json::{Value, json};

use crate::config::{Cni, Config};

/// The group all roles and bindings belong to.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// A cluster role.
pub(super) fn cluster_role(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    })
}

/// The binding of a cluster role to one subject, under the given name.
pub(super) fn cluster_role_binding(name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
        "subjects": [subject],
    })
}

fn user(name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": "User", "name": name })
}

/// The objects to apply once the API server is ready.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    // `kubectl logs` and `exec`: the kubelet asks whether the API server may.
    let mut items = vec![cluster_role_binding(
        "u7s:kubelet-api-admin",
        "system:kubelet-api-admin",
        &user("kube-apiserver-kubelet-client"),
    )];
    if config.cni == Cni::Flannel {
        items.push(cluster_role(
            "u7s:flannel",
            &json!([
                { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
                { "apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"] },
            ]),
        ));
        items.push(cluster_role_binding(
            "u7s:flannel",
            "u7s:flannel",
            &user("system:flannel"),
        ));
    }
    items
}
