//! local-path-provisioner: the default storage class, whose volumes are directories on this machine.
//!
//! It makes and removes the directories with pods of its own image, which has a shell (rancher/local-path-provisioner,
//! `deploy/local-path-storage.yaml` of v0.0.36). The containers of these pods see only the directory of all volumes.

use serde_json::{Value, json};

use crate::render::{cluster_role, cluster_role_binding, json as text, role};

/// The name of its image's directory in a generation's `images/`.
pub const IMAGE: &str = "local-path-provisioner";
/// The directory of all volumes, inside the namespaces. Objects in the cluster name it, so it is the same in every home.
pub const VOLUMES: &str = "/var/lib/u7s-volumes";
/// The directory of the data directory that is mounted there.
pub const VOLUMES_SOURCE: &str = "volumes";

const NAMESPACE: &str = "kube-system";
const NAME: &str = "local-path-provisioner";
/// The name of its configuration map.
const CONFIG: &str = "local-path-config";
/// The name of the storage class. k3s and others use the same.
const CLASS: &str = "local-path";

/// The objects to apply once the API server is ready. The image must have been imported, because it is never pulled.
#[must_use]
pub fn objects(image: &str) -> Vec<Value> {
    let named = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
    let rules = json!([
        { "apiGroups": [""], "resources": ["nodes", "persistentvolumeclaims"], "verbs": ["get", "list", "watch"] },
        {
            "apiGroups": [""],
            "resources": ["persistentvolumes"],
            "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"],
        },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"] },
        { "apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"] },
    ]);
    let account = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE });
    // Its pods and its configuration are in its own namespace only.
    let own = json!([
        {
            "apiGroups": [""],
            "resources": ["pods"],
            "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"],
        },
        { "apiGroups": [""], "resources": ["pods/log", "configmaps"], "verbs": ["get", "list", "watch"] },
    ]);
    let [own, own_binding] = role(NAMESPACE, NAME, &own, &json!([account]));
    let name = format!("u7s:{NAME}");
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(NAME) }),
        cluster_role(&name, &rules),
        cluster_role_binding(&name, &name, &account),
        own,
        own_binding,
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": named(CONFIG),
            "data": {
                "config.json": text(&json!({
                    "nodePathMap": [{ "node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [VOLUMES] }],
                })),
                "setup": "#!/bin/sh\nexec mkdir -p -m 0777 -- \"$VOL_DIR\"\n",
                "teardown": "#!/bin/sh\nexec rm -rf -- \"$VOL_DIR\"\n",
                "helperPod.yaml": text(&helper(image)),
            },
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named(NAME),
            "spec": {
                "replicas": 1,
                // Two of them would both answer a claim.
                "strategy": { "type": "Recreate" },
                "selector": { "matchLabels": { "app": NAME } },
                "template": { "metadata": { "labels": { "app": NAME } }, "spec": pod(image) },
            },
        }),
    ]
}

/// The storage class. It is only made, never changed: a user may have made another one the default.
#[must_use]
pub fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    })
}

/// The pod that makes or removes the directory of a volume. The provisioner adds the command and the directory.
fn helper(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "helper-pod" },
        "spec": {
            "priorityClassName": "system-node-critical",
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "helper-pod", "image": image, "imagePullPolicy": "Never" }],
        },
    })
}

fn pod(image: &str) -> Value {
    json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
        "containers": [{
            "name": NAME,
            "image": image,
            "imagePullPolicy": "Never",
            "command": [
                "local-path-provisioner",
                "start",
                "--config=/etc/config/config.json",
                format!("--configmap-name={CONFIG}"),
                format!("--service-account-name={NAME}"),
                format!("--helper-image={image}"),
            ],
            "env": [
                { "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                { "name": "CONFIG_MOUNT_PATH", "value": "/etc/config/" },
            ],
            "resources": {
                "requests": { "cpu": "10m", "memory": "32Mi" },
                "limits": { "memory": "128Mi" },
            },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/config/", "readOnly": true }],
        }],
        "volumes": [{ "name": "config", "configMap": { "name": CONFIG } }],
    })
}
