//! Whether the control plane reaches a node's kubelet. A node may not ask the API server to connect to it, so it asks
//! `u7s-node-approver`, which runs beside the API server and connects to kubelets over the same way.
//!
//! The node gives itself the label [`WANTED`]; the approver removes it and writes its answer into an annotation.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{addresses, change, items, kubelet_port, object, read_object, refused, text};
use crate::api::Client;
use crate::error::{Error, Kind, Result};
use crate::layout::{Kubeconfig, Layout};
use crate::process::say;

/// The label of a node that wants to be asked.
const WANTED: &str = "usernetes/check";
/// The annotation with the answer: [`REACHED`], or the reason why not.
const ANSWER: &str = "usernetes/checked";
/// The answer if the kubelet is reached.
const REACHED: &str = "reached";
/// The approver looks every two seconds, and connecting takes ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(40);
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until the control plane has tried to reach this node's kubelet. Gives the reason if it does not reach it. `client` has
/// the identity of the node, or may change it.
pub(crate) fn reached(client: &Client, node: &str) -> Result<std::result::Result<(), String>> {
    let path = format!("/api/v1/nodes/{node}");
    let wish = json!({ "metadata": {
        "labels": { WANTED: "now" },
        "annotations": { ANSWER: null },
    }});
    let began = Instant::now();
    change(client, &path, &wish)?;
    loop {
        let found = object(client, &path)?.unwrap_or_default();
        if let Some(answer) = found["metadata"]["annotations"][ANSWER].as_str() {
            return Ok(match answer {
                REACHED => Ok(()),
                reason => Err(reason.to_owned()),
            });
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::new(
                Kind::Failed,
                "the control plane does not say whether it reaches this machine's kubelet",
            )
            .detail("waited", format!("{} s", PATIENCE.as_secs()))
            .hint("on the machine with the control plane, see `usernetes logs node-approver`, and `usernetes node list`, which asks, too"));
        }
        thread::sleep(INTERVAL);
    }
}

/// For the approver: tries to reach the kubelets of all nodes that want it, and writes the answers.
pub(super) fn check_all(client: &Client, layout: &Layout) -> Result<()> {
    let path = format!(
        "/api/v1/nodes?limit=500&labelSelector={}",
        WANTED.replace('/', "%2F")
    );
    let answer = client.get(&path)?;
    if answer.status != 200 {
        return Err(refused(answer.status, &answer.body));
    }
    let list = read_object(&answer.body)?;
    for node in items(&list) {
        let name = text(node, "/metadata/name");
        let answer = match ask(node, layout) {
            Ok(()) => REACHED.to_owned(),
            Err(error) => error.message().to_owned(),
        };
        say(format!("the kubelet of node {name}: {answer}"));
        let path = format!("/api/v1/nodes/{name}");
        let said = json!({ "metadata": {
            "labels": { WANTED: null },
            "annotations": { ANSWER: answer },
        }});
        change(client, &path, &said)?;
    }
    Ok(())
}

/// Connects to a kubelet as the API server does: to the same address, and with the same demand on its certificate. Whether the
/// approver may read what it asks for does not matter.
fn ask(node: &Value, layout: &Layout) -> Result<()> {
    let server = kubelet(node)
        .ok_or_else(|| Error::new(Kind::Failed, "the node does not say where its kubelet is"))?;
    let client = Client::new(server, layout, Kubeconfig::NodeApprover)?;
    client.get("/healthz").map(drop)
}

/// Where the API server reaches the kubelet of a node.
fn kubelet(node: &Value) -> Option<SocketAddr> {
    let address = addresses(node).next()?.parse().ok()?;
    Some(SocketAddr::new(address, kubelet_port(node)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_is_where_its_node_says() {
        let mut node = json!({ "status": {
            "addresses": [
                { "type": "Hostname", "address": "b" },
                { "type": "InternalIP", "address": "192.0.2.2" },
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10251 } },
        }});
        assert_eq!(kubelet(&node), "192.0.2.2:10251".parse().ok());
        node["status"]["addresses"] = json!([]);
        assert_eq!(kubelet(&node), None);
    }
}
