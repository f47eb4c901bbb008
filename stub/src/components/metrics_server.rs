//! metrics-server: the resource metrics of nodes and pods, which `kubectl top` shows (kubernetes-sigs/metrics-server,
//! `manifests/base` of v0.8.1).
//!
//! Every connection is verified: it checks the certificates of kubelets against the cluster authority, and the API server
//! checks its own, which we have issued.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::render::{cluster_role, cluster_role_binding};

/// The name of its image's directory in a generation's `images/`.
pub const IMAGE: &str = "metrics-server";

const NAMESPACE: &str = "kube-system";
const NAME: &str = "metrics-server";
const ROLE: &str = "system:metrics-server";
const SECRET: &str = "metrics-server-tls";
/// The API that it serves.
const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";
/// Where it answers in its pod.
const PORT: u16 = 10250;
/// The configuration map, in every namespace, with the certificate of the cluster authority.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Its certificate and the key of it, and the authority's certificate, as PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
    /// The certificate of the authority that issued it.
    pub authority: String,
}

/// The objects to apply once the API server is ready. The image must have been imported, because it is never pulled.
#[must_use]
pub fn objects(image: &str, tls: &Tls) -> Vec<Value> {
    let named =
        |name: &str| json!({ "name": name, "namespace": NAMESPACE, "labels": { "k8s-app": NAME } });
    let encoded = |pem: &str| BASE64_STANDARD.encode(pem);
    let mut objects = access();
    objects.extend([
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": named(SECRET),
            "type": "kubernetes.io/tls",
            "data": { "tls.crt": encoded(&tls.certificate), "tls.key": encoded(&tls.key) },
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named(NAME),
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": { "k8s-app": NAME } },
                "template": { "metadata": { "labels": { "k8s-app": NAME } }, "spec": pod(image) },
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named(NAME),
            "spec": {
                "selector": { "k8s-app": NAME },
                "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": "https" }],
            },
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": { "name": format!("{VERSION}.{GROUP}"), "labels": { "k8s-app": NAME } },
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": { "name": NAME, "namespace": NAMESPACE, "port": 443 },
                "caBundle": encoded(&tls.authority),
            },
        }),
    ]);
    objects
}

/// Its account and its roles, and the role with which everybody who may view pods may view their metrics.
fn access() -> Vec<Value> {
    let account = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE });
    let rules = json!([
        { "apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] },
    ]);
    let mut reader = cluster_role(
        "system:aggregated-metrics-reader",
        &json!([{ "apiGroups": [GROUP], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] }]),
    );
    reader["metadata"]["labels"] = json!({
        "rbac.authorization.k8s.io/aggregate-to-admin": "true",
        "rbac.authorization.k8s.io/aggregate-to-edit": "true",
        "rbac.authorization.k8s.io/aggregate-to-view": "true",
    });
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": NAME, "namespace": NAMESPACE },
        }),
        reader,
        cluster_role(ROLE, &rules),
        cluster_role_binding(ROLE, ROLE, &account),
        // It asks the API server who its own clients are.
        cluster_role_binding(
            "metrics-server:system:auth-delegator",
            "system:auth-delegator",
            &account,
        ),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "metrics-server-auth-reader", "namespace": NAMESPACE },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
            },
            "subjects": [account],
        }),
    ]
}

fn pod(image: &str) -> Value {
    let probe = |path: &str, delay: u32| {
        json!({
            "httpGet": { "path": path, "port": "https", "scheme": "HTTPS" },
            "initialDelaySeconds": delay,
            "periodSeconds": 10,
            // With the default of one second, a busy machine was seen to end it while it started.
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        })
    };
    json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
        "containers": [{
            "name": NAME,
            "image": image,
            "imagePullPolicy": "Never",
            "args": [
                format!("--secure-port={PORT}"),
                "--tls-cert-file=/tls/tls.crt",
                "--tls-private-key-file=/tls/tls.key",
                "--kubelet-certificate-authority=/authority/ca.crt",
                // The certificates of kubelets have this address.
                "--kubelet-preferred-address-types=InternalIP",
                "--metric-resolution=15s",
            ],
            "ports": [{ "name": "https", "containerPort": PORT, "protocol": "TCP" }],
            "resources": {
                "requests": { "cpu": "50m", "memory": "64Mi" },
                "limits": { "memory": "256Mi" },
            },
            "livenessProbe": probe("/livez", 20),
            "readinessProbe": probe("/readyz", 10),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
                "runAsNonRoot": true,
                "runAsUser": 1000,
            },
            "volumeMounts": [
                { "name": "tls", "mountPath": "/tls", "readOnly": true },
                { "name": "authority", "mountPath": "/authority", "readOnly": true },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        }],
        "volumes": [
            { "name": "tls", "secret": { "secretName": SECRET } },
            { "name": "authority", "configMap": { "name": ROOT_CA } },
            { "name": "tmp", "emptyDir": {} },
        ],
    })
}
