//! Making the cluster's own objects, by server-side apply (Kubernetes documentation, "Server-Side Apply"): what others have
//! set in an object stays, and an object that is as it should be is left alone.
//!
//! `kubectl` would do it too, but first asks for descriptions of everything the API server knows: on a slow machine
//! that took 25 s.

use serde_json::Value;

use super::Client;
use crate::error::Result;

/// JSON is YAML, too.
const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Makes or updates objects. If the API server does not take one of them, gives what it says, and leaves the rest.
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

/// Where the API server keeps an object. The kinds we make are named in the plural as English would.
fn path(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"]
        .as_str()
        .map_or_else(String::new, |name| format!("/namespaces/{name}"));
    let kind = text(&object["kind"]).to_lowercase();
    format!(
        "/{root}/{version}{namespace}/{kind}s/{}",
        text(&metadata["name"])
    )
}

/// The message of a `Status` object, or else the number.
fn complaint(status: u16, body: &str) -> String {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    said["message"]
        .as_str()
        .and_then(|message| message.lines().next())
        .map_or_else(|| format!("it answers {status}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{coredns, rbac};
    use crate::config::{Cni, Config, DnsName};

    #[test]
    fn where_objects_are() {
        let config = Config::new(DnsName::new("node").unwrap(), Cni::Flannel);
        let mut objects = rbac::objects(&config);
        objects.extend(coredns::objects(&config, "image"));
        let paths: Vec<_> = objects.iter().map(path).collect();
        insta::assert_snapshot!(paths.join("\n"), @r"
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:kubelet-api-admin
        /apis/rbac.authorization.k8s.io/v1/clusterroles/u7s:flannel
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/u7s:flannel
        /api/v1/namespaces/kube-system/serviceaccounts/coredns
        /apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns
        /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns
        /api/v1/namespaces/kube-system/configmaps/coredns
        /apis/apps/v1/namespaces/kube-system/deployments/coredns
        /api/v1/namespaces/kube-system/services/kube-dns
        ");
    }

    #[test]
    fn what_the_server_does_not_take() {
        let status = r#"{"kind":"Status","message":"namespaces \"kube-system\" not found\nmore"}"#;
        assert_eq!(
            complaint(404, status),
            "namespaces \"kube-system\" not found"
        );
        assert_eq!(complaint(500, "oops"), "it answers 500");
    }
}
