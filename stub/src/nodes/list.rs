//! `node list`

use serde::Serialize;
use serde_json::Value;

use super::{addresses, administrator, is_ready, items, read_object, refused, text};
use crate::cluster::Current;
use crate::error::Result;

/// A node as the cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `control-plane` or `worker`.
    pub role: &'static str,
    /// The address at which the others reach it.
    pub address: String,
    /// The version of its kubelet.
    pub kubelet: String,
    /// The version of its container runtime.
    pub runtime: String,
    /// The network of its pods.
    pub pods: String,
    /// Whether it reports that it is ready.
    pub ready: bool,
    /// Whether the API server reaches its kubelet, which `kubectl logs` and `kubectl exec` need.
    pub reached: bool,
}

/// All nodes. Each kubelet is asked through the API server.
pub fn list(current: &Current) -> Result<Vec<Node>> {
    let client = administrator(current)?;
    let answer = client.get("/api/v1/nodes?limit=1000")?;
    if answer.status != 200 {
        return Err(refused(answer.status, &answer.body));
    }
    let list = read_object(&answer.body)?;
    let nodes = items(&list).map(|node| {
        let mut node = described(node, current.config.node_name.as_str());
        let path = format!("/api/v1/nodes/{}/proxy/healthz", node.name);
        node.reached = client.get(&path).is_ok_and(|answer| answer.status == 200);
        node
    });
    Ok(nodes.collect())
}

fn described(node: &Value, own: &str) -> Node {
    let text = |pointer: &str| text(node, pointer).to_owned();
    let name = text("/metadata/name");
    Node {
        role: if name == own {
            "control-plane"
        } else {
            "worker"
        },
        address: addresses(node).next().unwrap_or_default().to_owned(),
        kubelet: text("/status/nodeInfo/kubeletVersion"),
        runtime: text("/status/nodeInfo/containerRuntimeVersion"),
        pods: text("/spec/podCIDR"),
        ready: is_ready(node),
        reached: false,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_described() {
        let node = json!({
            "metadata": { "name": "b" },
            "spec": { "podCIDR": "10.5.1.0/24" },
            "status": {
                "addresses": [
                    { "type": "Hostname", "address": "b" },
                    { "type": "InternalIP", "address": "192.0.2.2" },
                ],
                "conditions": [{ "type": "Ready", "status": "True" }],
                "nodeInfo": { "kubeletVersion": "v1.36.2", "containerRuntimeVersion": "cri-o://1.36.3" },
            },
        });
        let expected = Node {
            name: "b".to_owned(),
            role: "worker",
            address: "192.0.2.2".to_owned(),
            kubelet: "v1.36.2".to_owned(),
            runtime: "cri-o://1.36.3".to_owned(),
            pods: "10.5.1.0/24".to_owned(),
            ready: true,
            reached: false,
        };
        assert_eq!(described(&node, "a"), expected);
        assert_eq!(described(&node, "b").role, "control-plane");
    }
}
