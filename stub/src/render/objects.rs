//! Kubernetes objects.

use serde_json::{Value, json};

/// The API group of roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// A cluster role.
pub(crate) fn cluster_role(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    })
}

/// A binding with the given name, of a cluster role to one subject.
pub(crate) fn cluster_role_binding(name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
        "subjects": [subject],
    })
}

/// A role in a namespace, and a binding of it with the same name to these subjects.
pub(crate) fn role(namespace: &str, name: &str, rules: &Value, subjects: &Value) -> [Value; 2] {
    let metadata = json!({ "name": name, "namespace": namespace });
    [
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "Role",
            "metadata": metadata,
            "rules": rules,
        }),
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": subjects,
        }),
    ]
}

/// A group as the subject of a binding.
pub(crate) fn group(name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": "Group", "name": name })
}

/// A user as the subject of a binding.
pub(crate) fn user(name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": "User", "name": name })
}
