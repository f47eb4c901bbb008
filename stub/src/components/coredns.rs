//! CoreDNS, the cluster's name server.

use serde_json::{Value, json};

use crate::config::Config;
use crate::render::{cluster_role, cluster_role_binding};

/// The namespace of the objects.
const NAMESPACE: &str = "kube-system";
/// The name of every object except the service.
const NAME: &str = "coredns";
/// The name of the service. Programs look for the cluster's name server under this name.
const SERVICE: &str = "kube-dns";

/// The objects to apply once the API server is ready. The image must have been imported, because it is never pulled.
#[must_use]
pub fn objects(config: &Config, image: &str) -> Vec<Value> {
    let named = |name: &str| json!({ "name": name, "namespace": NAMESPACE, "labels": { "k8s-app": SERVICE } });
    let role = format!("system:{NAME}");
    let rules = json!([
        { "apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
    ]);
    let account = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE });
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(NAME) }),
        cluster_role(&role, &rules),
        cluster_role_binding(&role, &role, &account),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": named(NAME),
            "data": { "Corefile": corefile(config) },
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named(NAME),
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": { "k8s-app": SERVICE } },
                "template": {
                    "metadata": { "labels": { "k8s-app": SERVICE } },
                    "spec": pod(image),
                },
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named(SERVICE),
            "spec": {
                "clusterIP": config.cluster_dns(),
                "selector": { "k8s-app": SERVICE },
                "ports": [
                    { "name": "dns", "port": 53, "protocol": "UDP" },
                    { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
                    { "name": "metrics", "port": 9153, "protocol": "TCP" },
                ],
            },
        }),
    ]
}

/// The configuration map with the user's additions. Nothing of ours creates or changes it. Its keys that end in `.override`
/// are read inside the server block below, those that end in `.server` beside it. k3s uses the same names.
const ADDITIONS: &str = "coredns-custom";
/// The directory, in the container, with the additions.
const ADDITIONS_DIR: &str = "/etc/coredns-custom";

fn corefile(config: &Config) -> String {
    let domain = &config.cluster_domain;
    format!(
        "\
.:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
    import {ADDITIONS_DIR}/*.override
}}
import {ADDITIONS_DIR}/*.server
"
    )
}

fn pod(image: &str) -> Value {
    let probe = |path: &str, port: u16, period: u32| {
        json!({
            "httpGet": { "path": path, "port": port },
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        })
    };
    json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        // It asks the host's name servers, as the kubelet sees them. The cluster's name server would be itself.
        "dnsPolicy": "Default",
        "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
        "containers": [{
            "name": NAME,
            "image": image,
            "imagePullPolicy": "Never",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "ports": [
                { "name": "dns", "containerPort": 53, "protocol": "UDP" },
                { "name": "dns-tcp", "containerPort": 53, "protocol": "TCP" },
                { "name": "metrics", "containerPort": 9153, "protocol": "TCP" },
            ],
            "resources": {
                "requests": { "cpu": "100m", "memory": "70Mi" },
                "limits": { "memory": "170Mi" },
            },
            "livenessProbe": probe("/health", 8080, 10),
            // The period is short because `install` waits until this probe succeeds.
            "readinessProbe": probe("/ready", 8181, 1),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [
                { "name": "config", "mountPath": "/etc/coredns", "readOnly": true },
                { "name": "additions", "mountPath": ADDITIONS_DIR, "readOnly": true },
            ],
        }],
        "volumes": [
            {
                "name": "config",
                "configMap": { "name": NAME, "items": [{ "key": "Corefile", "path": "Corefile" }] },
            },
            { "name": "additions", "configMap": { "name": ADDITIONS, "optional": true } },
        ],
    })
}
