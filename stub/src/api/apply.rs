//! Creates and updates the cluster's own objects with server-side apply (Kubernetes documentation, "Server-Side Apply").
//! Fields that others have set stay, and an object that is already right is not changed.
//!
//! `kubectl` could do this, too. But it first requests the description of every type that the API server knows, which took
//! 25 s on a slow machine.

use serde_json::Value;

use super::Client;
use crate::error::Result;

/// The only media type for server-side apply. JSON is valid YAML.
const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Creates or updates objects. If the API server refuses one of them, returns its message and leaves out the rest.
pub(crate) fn apply(client: &Client, objects: &[Value]) -> Result<Option<String>> {
    for object in objects {
        let path = format!("{}?fieldManager=usernetes&force=true", path(object));
        let answer = client.patch(&path, MEDIA_TYPE, &object.to_string())?;
        if !matches!(answer.status, 200 | 201) {
            return Ok(Some(complaint(answer.status, &answer.body)));
        }
    }
    Ok(None)
}

/// Creates those objects that do not exist, and leaves the others as they are. Gives the message of a refusal.
pub(crate) fn create(client: &Client, objects: &[Value]) -> Result<Option<String>> {
    for object in objects {
        let answer = client.get(&path(object))?;
        let refused = match answer.status {
            200 => None,
            404 => apply(client, std::slice::from_ref(object))?,
            status => Some(complaint(status, &answer.body)),
        };
        if refused.is_some() {
            return Ok(refused);
        }
    }
    Ok(None)
}

/// The path of an object at the API server. It contains the plural of the kind, to which English adds `s` or `es`, or changes a
/// final `y` to `ies`.
fn path(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"]
        .as_str()
        .map_or_else(String::new, |name| format!("/namespaces/{name}"));
    let kind = text(&object["kind"]).to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    format!(
        "/{root}/{version}{namespace}/{plural}/{}",
        text(&metadata["name"])
    )
}

/// The message in a `Status` object. If there is none, the HTTP status.
pub(crate) fn complaint(status: u16, body: &str) -> String {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    said["message"]
        .as_str()
        .and_then(|message| message.lines().next())
        .map_or_else(|| format!("it answers {status}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{coredns, local_path, metrics_server, rbac, runtime_class};
    use crate::config::{Cni, Config, DnsName};

    #[test]
    fn snapshot_of_the_paths_of_objects() {
        let config = Config::new(DnsName::new("node").unwrap(), Cni::Flannel);
        let mut objects = rbac::objects(&config);
        objects.extend(coredns::objects(&config, "image"));
        objects.extend(runtime_class::objects(&config));
        objects.extend(local_path::objects("image"));
        objects.push(local_path::class());
        let tls = metrics_server::Tls {
            certificate: String::new(),
            key: String::new(),
            authority: String::new(),
        };
        objects.extend(metrics_server::objects("image", &tls));
        let paths: Vec<_> = objects.iter().map(path).collect();
        insta::assert_snapshot!(paths.join("\n"), @r"
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:kubelet-api-admin
        /apis/rbac.authorization.k8s.io/v1/clusterroles/u7s:ports
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:ports
        /apis/rbac.authorization.k8s.io/v1/clusterroles/u7s:flannel
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:flannel
        /api/v1/namespaces/kube-system/serviceaccounts/coredns
        /apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns
        /api/v1/namespaces/kube-system/configmaps/coredns
        /apis/apps/v1/namespaces/kube-system/deployments/coredns
        /api/v1/namespaces/kube-system/services/kube-dns
        /apis/node.k8s.io/v1/runtimeclasses/crun
        /apis/node.k8s.io/v1/runtimeclasses/runc
        /api/v1/namespaces/kube-system/serviceaccounts/local-path-provisioner
        /apis/rbac.authorization.k8s.io/v1/clusterroles/u7s:local-path-provisioner
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:local-path-provisioner
        /apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/local-path-provisioner
        /apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings/local-path-provisioner
        /api/v1/namespaces/kube-system/configmaps/local-path-config
        /apis/apps/v1/namespaces/kube-system/deployments/local-path-provisioner
        /apis/storage.k8s.io/v1/storageclasses/local-path
        /api/v1/namespaces/kube-system/serviceaccounts/metrics-server
        /apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregated-metrics-reader
        /apis/rbac.authorization.k8s.io/v1/clusterroles/system:metrics-server
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:metrics-server
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/metrics-server:system:auth-delegator
        /apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings/metrics-server-auth-reader
        /api/v1/namespaces/kube-system/secrets/metrics-server-tls
        /apis/apps/v1/namespaces/kube-system/deployments/metrics-server
        /api/v1/namespaces/kube-system/services/metrics-server
        /apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io
        ");
    }

    #[test]
    fn a_refusal_is_reported_with_the_servers_message() {
        let status = r#"{"kind":"Status","message":"namespaces \"kube-system\" not found\nmore"}"#;
        assert_eq!(
            complaint(404, status),
            "namespaces \"kube-system\" not found"
        );
        assert_eq!(complaint(500, "oops"), "it answers 500");
    }
}
