//! Pods for hollow nodes. Ten nodes' pods are one Deployment in a namespace of its own, so that a namespace is a small part of a
//! large cluster.

use reqwest::Method;
use serde_json::{Value, json};
use stub::error::{Error, Kind, Result};

use crate::api::Api;
use crate::hollow::LABEL;

/// How many nodes' pods are in a namespace.
const NODES: u16 = 10;
const NAMESPACES: &str = "/api/v1/namespaces";
/// All namespaces with our label.
const OURS: &str = "/api/v1/namespaces?labelSelector=usernetes-scale%3Dhollow";
/// Our pods that run.
const RUNNING: &str =
    "/api/v1/pods?labelSelector=usernetes-scale%3Dhollow&fieldSelector=status.phase%3DRunning";

/// The first namespace. Its pods are as many as in any other.
pub(crate) const FIRST: &str = "hollow-nodes-0";

/// Asks for so many pods for each of so many nodes, whatever there was before.
pub(crate) fn ask_for(api: &Api, nodes: u16, pods: u16) -> Result<()> {
    let ours = names(api)?;
    for first in (0..nodes).step_by(NODES.into()) {
        let name = format!("hollow-nodes-{}", first / NODES);
        let replicas = u32::from(NODES.min(nodes - first)) * u32::from(pods);
        if !ours.contains(&name) {
            make(api, &name)?;
        }
        let path = format!(
            "/apis/apps/v1/namespaces/{name}/deployments/hollow?fieldManager=scale&force=true"
        );
        api.send(&Method::PATCH, &path, Some(&deployment(replicas)))?;
    }
    Ok(())
}

/// Makes a namespace. One that is there already is somebody else's.
fn make(api: &Api, name: &str) -> Result<()> {
    let namespace = json!({ "metadata": { "name": name, "labels": { LABEL: "hollow" } } });
    let made = api.send(&Method::POST, NAMESPACES, Some(&namespace));
    made.map(drop).map_err(|error| {
        let there = api.get(&format!("{NAMESPACES}/{name}"));
        if there.is_ok_and(|there| there["metadata"]["labels"][LABEL].is_null()) {
            return Error::new(
                Kind::Usage,
                format!("the namespace {name} is not of this program"),
            )
            .hint("rename or remove it");
        }
        error
    })
}

/// A Deployment whose image is never pulled, because a hollow node's container runtime is played.
fn deployment(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "hollow", "labels": { LABEL: "hollow" } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { LABEL: "hollow" } },
            "template": {
                "metadata": { "labels": { LABEL: "hollow" } },
                "spec": {
                    "nodeSelector": { LABEL: "hollow" },
                    "tolerations": [{ "key": LABEL, "operator": "Exists" }],
                    "containers": [{ "name": "c", "image": "hollow.invalid/none:1" }],
                },
            },
        },
    })
}

/// How many pods run. They themselves are counted, because the controllers say it only when they have made all.
pub(crate) fn running(api: &Api) -> Result<usize> {
    api.count(RUNNING)
}

/// Our namespaces.
pub(crate) fn names(api: &Api) -> Result<Vec<String>> {
    let items = api.items(OURS)?;
    let names = items.iter().map(|item| item["metadata"]["name"].as_str());
    Ok(names.flatten().map(str::to_owned).collect())
}

/// Removes our namespaces, and the pods without waiting for their nodes. Gives whether all are gone.
pub(crate) fn remove(api: &Api) -> Result<bool> {
    let names = names(api)?;
    for name in &names {
        // From here on, nothing new appears in it.
        api.send(&Method::DELETE, &format!("{NAMESPACES}/{name}"), None)?;
        let pods = format!("{NAMESPACES}/{name}/pods");
        api.send(
            &Method::DELETE,
            &pods,
            Some(&json!({ "gracePeriodSeconds": 0 })),
        )?;
    }
    Ok(names.is_empty())
}

#[cfg(test)]
mod tests {
    use support::server::{Behaviour, Server};

    use super::*;
    use crate::api::tests::played;

    const OTHER: &str = r#"{"items": [{"metadata": {"name": "hollow-nodes-0"}}]}"#;

    /// The method and path of each request.
    fn asked(server: &Server) -> Vec<String> {
        let requests = server.requests().into_iter();
        let requests = requests.map(|request| format!("{} {}", request.method, request.path));
        requests
            .filter(|request| !request.starts_with("GET "))
            .collect()
    }

    #[test]
    fn every_ten_nodes_have_a_namespace_and_one_that_is_there_grows() {
        let server = Server::start();
        let api = played(&server);
        server.good(NAMESPACES, OTHER.as_bytes());
        for number in 0..2 {
            let path = format!("/apis/apps/v1/namespaces/hollow-nodes-{number}/deployments");
            server.good(&format!("{path}/hollow"), b"{}");
        }
        ask_for(&api, 12, 30).unwrap();
        assert_eq!(
            asked(&server),
            [
                "PATCH /apis/apps/v1/namespaces/hollow-nodes-0/deployments/hollow?fieldManager=scale&force=true",
                "POST /api/v1/namespaces",
                "PATCH /apis/apps/v1/namespaces/hollow-nodes-1/deployments/hollow?fieldManager=scale&force=true",
            ]
        );
    }

    #[test]
    fn a_namespace_of_somebody_else_is_not_touched() {
        let server = Server::start();
        let api = played(&server);
        let none = Behaviour::Other(br#"{"items": []}"#.to_vec());
        let conflict = Behaviour::Answer(409, vec![]);
        server.route(
            NAMESPACES,
            br#"{"message": "exists"}"#,
            [none.clone(), conflict.clone(), none, conflict],
        );
        // It cannot be looked at either: then it is only an error.
        let error = ask_for(&api, 1, 1).unwrap_err();
        assert_eq!(
            error.message(),
            "POST /api/v1/namespaces: 409 Conflict: exists"
        );
        server.good("/api/v1/namespaces/hollow-nodes-0", br#"{"metadata": {}}"#);
        let error = ask_for(&api, 1, 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(asked(&server), ["POST /api/v1/namespaces"; 2]);
    }

    #[test]
    fn namespaces_go_before_their_pods() {
        let server = Server::start();
        let api = played(&server);
        let gone = Behaviour::Other(br#"{"items": []}"#.to_vec());
        server.route(NAMESPACES, OTHER.as_bytes(), [Behaviour::Good, gone]);
        server.good("/api/v1/namespaces/hollow-nodes-0", b"{}");
        server.good("/api/v1/namespaces/hollow-nodes-0/pods", b"{}");
        assert!(!remove(&api).unwrap());
        assert!(remove(&api).unwrap());
        assert_eq!(
            asked(&server),
            [
                "DELETE /api/v1/namespaces/hollow-nodes-0",
                "DELETE /api/v1/namespaces/hollow-nodes-0/pods",
            ]
        );
    }
}
