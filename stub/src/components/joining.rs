//! What other machines need in the cluster so that they can join it: permissions, and a description of the cluster.

use serde_json::{Value, json};

use crate::config::{Config, Setting};
use crate::pki::NODE_APPROVER;
use crate::render::{cluster_role, cluster_role_binding, group, role, user};

/// The namespace of the objects.
pub const NAMESPACE: &str = "kube-system";
/// The configuration map that describes the cluster.
pub const CLUSTER: &str = "u7s-cluster";
/// The group of machines that have only a token. The API server puts everybody with our tokens into it.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers:u7s";
/// The group of all nodes.
pub const NODES: &str = "system:nodes";
/// The beginning of the names of policies that keep removed machines out; the node's name follows.
pub const REMOVED: &str = "u7s-removed-";
/// The entry of the description with the certificates of the authorities. Earlier releases do not write it.
pub const AUTHORITIES: &str = "authorities";
/// The annotation with which a node says which authority has issued its certificates: the digest of its key. It then trusts all
/// authorities of the description.
pub const AUTHORITY_OF_NODE: &str = "usernetes/authority";
/// The version of the description.
pub const SCHEMA: u32 = 1;

/// The signer of client certificates for nodes (Kubernetes documentation, "Certificates and Certificate Signing Requests").
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of serving certificates for kubelets.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// What a machine with a token may do, what a node may do that Kubernetes does not allow it by itself, and what the approver may
/// do.
#[must_use]
pub fn permissions() -> Vec<Value> {
    let mut objects = bootstrappers();
    objects.extend(nodes());
    objects.extend(approver());
    objects
}

/// A machine with a token describes itself to the approver, and looks whether its name is taken.
fn bootstrappers() -> Vec<Value> {
    let name = "u7s:bootstrapper";
    let rules = json!([
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests"],
            "verbs": ["create", "get"],
        },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] },
    ]);
    let mut objects = vec![
        cluster_role(name, &rules),
        cluster_role_binding(name, name, &group(BOOTSTRAPPERS)),
    ];
    let rules = json!([{
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [CLUSTER],
        "verbs": ["get"],
    }]);
    let readers = json!([group(BOOTSTRAPPERS), group(NODES)]);
    objects.extend(role(NAMESPACE, "u7s:cluster-reader", &rules, &readers));
    objects
}

/// kube-proxy and flannel of other machines have the identity of their node. A node may write its own status anyway.
fn nodes() -> Vec<Value> {
    let rules = json!([
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
    ]);
    let name = "u7s:other-nodes";
    vec![
        cluster_role_binding("u7s:node-proxier", "system:node-proxier", &group(NODES)),
        cluster_role(name, &rules),
        cluster_role_binding(name, name, &group(NODES)),
    ]
}

fn approver() -> Vec<Value> {
    let name = "u7s:node-approver";
    let rules = json!([
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests"],
            "verbs": ["get", "list"],
        },
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests/approval"],
            "verbs": ["update"],
        },
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["signers"],
            "resourceNames": [CLIENT_SIGNER, SERVING_SIGNER],
            "verbs": ["approve"],
        },
        // It writes into a node whether its kubelet is reached.
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch"] },
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
            "verbs": ["delete"],
        },
    ]);
    let subject = user(NODE_APPROVER);
    let mut objects = vec![
        cluster_role(name, &rules),
        cluster_role_binding(name, name, &subject),
    ];
    // It marks a token as used. Tokens are secrets, and nothing else in this namespace needs to be one.
    let rules = json!([
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch"] },
    ]);
    objects.extend(role(NAMESPACE, name, &rules, &json!([subject])));
    objects
}

/// The configuration map with which a machine that joins configures itself. `kubernetes` is the version of the API server,
/// `release` that of the bundle, `authorities` the certificates, as PEM, of the authorities that machines trust.
#[must_use]
pub fn description(config: &Config, kubernetes: &str, release: &str, authorities: &str) -> Value {
    let network = &config.network;
    let machines = &config.machines;
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CLUSTER, "namespace": NAMESPACE },
        "data": {
            "schema": SCHEMA.to_string(),
            "release": release,
            "kubernetes": kubernetes,
            "services": network.services.to_string(),
            "dns": network.dns.to_string(),
            "pods": network.pods.to_string(),
            "cluster_domain": config.cluster_domain.to_string(),
            "cni": config.cni.to_string(),
            "mtu": machines.mtu.to_string(),
            "vxlan_port": machines.vxlan_port.to_string(),
            AUTHORITIES: authorities,
            "without": Setting::Without.value(config),
        },
    })
}

/// The objects that keep the certificate of a removed node out: the API server refuses every change that its holder makes. A
/// certificate cannot be revoked.
#[must_use]
pub fn removal(node: &str) -> [Value; 2] {
    let name = format!("{REMOVED}{node}");
    let api_version = "admissionregistration.k8s.io/v1";
    [
        json!({
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": ["*"],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"],
                    "resources": ["*/*"],
                }] },
                "matchConditions": [{
                    "name": "that-node",
                    "expression": format!("request.userInfo.username == \"system:node:{node}\""),
                }],
                "validations": [{
                    "expression": "false",
                    "message": format!("node {node} was removed from this cluster; it may join again with a new token"),
                }],
            },
        }),
        json!({
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }),
    ]
}
