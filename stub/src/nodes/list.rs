//! `node list`

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::facts::FACTS;
use super::{addresses, administrator, all_nodes, is_ready, items, peers, text};
use crate::cluster::Current;
use crate::error::Result;

/// A node as the cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `control-plane` or `worker`.
    pub role: String,
    /// The address at which the others reach it.
    pub address: String,
    /// The release on its machine; empty if that has not said it yet.
    pub release: String,
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
    /// Whether packets pass between its pods and those of this machine, both ways; `None` for this machine itself, and where
    /// it has no pods.
    pub vxlan: Option<bool>,
    /// Whole days until the first of its machine's certificates ends, negative once one has; `None` if the machine has not said
    /// it yet.
    pub certificate_days: Option<i64>,
}

/// All nodes. Each kubelet is asked through the API server, and each pod network from this machine's.
pub fn list(current: &Current) -> Result<Vec<Node>> {
    let client = administrator(current)?;
    let list = all_nodes(&client)?;
    let (own, now) = (current.config.node_name.as_str(), SystemTime::now());
    let mut nodes: Vec<_> = items(&list).map(|node| described(node, own, now)).collect();
    for node in &mut nodes {
        let path = format!("/api/v1/nodes/{}/proxy/healthz", node.name);
        node.reached = client.get(&path).is_ok_and(|answer| answer.status == 200);
    }
    if peers::are_connected(&current.config) {
        let asked = items(&list).filter(|node| text(node, "/metadata/name") != own);
        let targets: Vec<_> = asked
            .filter_map(|node| Some((text(node, "/metadata/name"), peers::over_vxlan(node)?)))
            .collect();
        let addresses: Vec<_> = targets.iter().map(|(_, address)| *address).collect();
        // Without an answer it is unknown, and the rest is worth seeing.
        let answers = peers::answer(current, &addresses).unwrap_or_default();
        for ((name, _), answer) in targets.iter().zip(answers) {
            for node in nodes.iter_mut().filter(|node| node.name == *name) {
                node.vxlan = Some(answer);
            }
        }
    }
    Ok(nodes)
}

fn described(node: &Value, own: &str, now: SystemTime) -> Node {
    let text = |pointer: &str| text(node, pointer).to_owned();
    let said = |name: &str| {
        let said = node["metadata"]["annotations"][name].as_str();
        said.unwrap_or_default()
    };
    let name = text("/metadata/name");
    let role = match said(FACTS.role) {
        _ if name == own => "control-plane",
        "control-plane" => "control-plane",
        _ => "worker",
    };
    Node {
        role: role.to_owned(),
        address: addresses(node).next().unwrap_or_default().to_owned(),
        release: said(FACTS.release).to_owned(),
        kubelet: text("/status/nodeInfo/kubeletVersion"),
        runtime: text("/status/nodeInfo/containerRuntimeVersion"),
        pods: text("/spec/podCIDR"),
        ready: is_ready(node),
        reached: false,
        vxlan: None,
        certificate_days: days_until(said(FACTS.certificates_end), now),
        name,
    }
}

/// Whole days until a time in RFC 3339.
fn days_until(end: &str, now: SystemTime) -> Option<i64> {
    let end = OffsetDateTime::parse(end, &Rfc3339).ok()?;
    let left = end - OffsetDateTime::from(now);
    Some(left.whole_seconds().div_euclid(24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_described() {
        let node = json!({
            "metadata": { "name": "b", "annotations": {
                "usernetes/release": "0.2.0",
                "usernetes/role": "worker",
                "usernetes/certificates-end": "2027-01-11T00:00:00Z",
            }},
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
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(499_656);
        let expected = Node {
            name: "b".to_owned(),
            role: "worker".to_owned(),
            address: "192.0.2.2".to_owned(),
            release: "0.2.0".to_owned(),
            kubelet: "v1.36.2".to_owned(),
            runtime: "cri-o://1.36.3".to_owned(),
            pods: "10.5.1.0/24".to_owned(),
            ready: true,
            reached: false,
            vxlan: None,
            certificate_days: Some(10),
        };
        assert_eq!(described(&node, "a", now), expected);
        assert_eq!(described(&node, "b", now).role, "control-plane");
        let later = now + Duration::from_hours(24 * 10 + 1);
        assert_eq!(described(&node, "a", later).certificate_days, Some(-1));
        let silent = json!({ "metadata": { "name": "c" } });
        let silent = described(&silent, "a", now);
        assert_eq!(
            (silent.release.as_str(), silent.certificate_days),
            ("", None)
        );
    }
}
