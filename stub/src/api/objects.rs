//! Asks the API server about the health of the objects that `install` waits for.

use serde_json::Value;

use super::Client;
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// This machine's node, and the time when its container runtime was started, RFC 3339 in UTC. Its pods from before do not run any
/// more, even if the API server still lists them as running. Those of other machines do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started<'a> {
    pub(super) node: &'a str,
    pub(super) since: &'a str,
}

impl<'a> Started<'a> {
    /// For the machine with this configuration; `None` if it is not known that its runtime was started anew.
    pub(crate) fn of(config: &'a Config, since: Option<&'a str>) -> Option<Self> {
        let node = config.node_name.as_str();
        since.map(|since| Self { node, since })
    }
}

/// Nothing if an object is healthy; otherwise the reason why it is not.
pub(crate) type Health = std::result::Result<(), String>;

/// Checks that the node is ready. `since`, RFC 3339 in UTC, is the time when the kubelet was started. Reports from before do
/// not count; every kubelet reports when it starts.
pub(crate) fn node(client: &Client, config: &Config, since: Option<&str>) -> Health {
    let node = ask(client, &format!("/api/v1/nodes/{}", config.node_name))?;
    reported(&node, since)
}

/// Checks that CoreDNS runs and answers. If not, the reason is the latest warning in its namespace, because the deployment
/// itself only says that a pod is missing.
pub(crate) fn dns(client: &Client, started: Option<Started<'_>>) -> Health {
    const NAMESPACE: &str = "kube-system";
    let deployment = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/coredns");
    let available = ask(client, &deployment).and_then(|d| condition(&d, "Available").map(drop));
    available.map_err(|said| {
        let events = format!("/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=type%3DWarning");
        let events = client.get(&events).ok();
        events
            .and_then(|events| latest_message(&events.body))
            .unwrap_or(said)
    })?;
    if started.is_none() {
        return Ok(());
    }
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=k8s-app%3Dkube-dns");
    run(&ask(client, &pods)?, started)
}

/// Whether there are network policies; `None` if the API server does not say.
pub(crate) fn network_policies(client: &Client) -> Option<bool> {
    // One is enough to know.
    let list = ask(client, "/apis/networking.k8s.io/v1/networkpolicies?limit=1").ok()?;
    any(&list)
}

fn any(list: &Value) -> Option<bool> {
    list["items"].as_array().map(|items| !items.is_empty())
}

pub(super) fn ask(client: &Client, path: &str) -> std::result::Result<Value, String> {
    let answer = client
        .get(path)
        .map_err(|error| error.message().to_owned())?;
    Ok(serde_json::from_str(&answer.body).unwrap_or_default())
}

/// Checks that a node's kubelet has reported at `since` or later that it is ready. Times in RFC 3339 and UTC can be compared
/// as texts.
fn reported(node: &Value, since: Option<&str>) -> Health {
    let ready = condition(node, "Ready")?;
    let heartbeat = ready["lastHeartbeatTime"].as_str().unwrap_or_default();
    if since.is_some_and(|since| heartbeat < since) {
        return Err("the kubelet has not reported since it was started".to_owned());
    }
    Ok(())
}

/// Checks that one of the pods is ready and really runs.
fn run(pods: &Value, started: Option<Started<'_>>) -> Health {
    if items(pods).any(|pod| runs(pod, started)) {
        return Ok(());
    }
    Err("its pod has not run since the container runtime was started".to_owned())
}

/// Whether a pod is ready, and, if it is one of this machine, its containers are those of the present runtime. Times in RFC 3339
/// and UTC can be compared as texts.
pub(super) fn runs(pod: &Value, started: Option<Started<'_>>) -> bool {
    let here = started.filter(|here| pod["spec"]["nodeName"] == here.node);
    let new = |container: &Value| {
        let started = container["state"]["running"]["startedAt"].as_str();
        here.is_none_or(|here| started.is_some_and(|started| started >= here.since))
    };
    let containers = pod["status"]["containerStatuses"].as_array();
    condition(pod, "Ready").is_ok() && containers.is_some_and(|all| all.iter().all(new))
}

/// The objects of a list.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// An object, or a list of some, from the text of an answer.
pub(crate) fn read_object(body: &str) -> Result<Value> {
    serde_json::from_str(body)
        .map_err(|error| Error::new(Kind::Failed, format!("the API server's answer: {error}")))
}

/// The message of the latest event in a list. Times in RFC 3339 and UTC can be compared as texts.
fn latest_message(body: &str) -> Option<String> {
    let list: Value = serde_json::from_str(body).ok()?;
    let events = list["items"].as_array()?.iter();
    let latest = events.max_by_key(|event| {
        event["lastTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    })?;
    Some(latest["message"].as_str()?.lines().next()?.to_owned())
}

/// A condition of a Kubernetes object if its status is `True`; otherwise the message of the condition.
pub(crate) fn condition<'a>(
    object: &'a Value,
    wanted: &str,
) -> std::result::Result<&'a Value, String> {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == wanted);
    if let Some(found) = found.filter(|c| c["status"] == "True") {
        return Ok(found);
    }
    let said = found.map_or(&object["message"], |c| &c["message"]).as_str();
    Err(said
        .and_then(|text| text.lines().next())
        .unwrap_or("not there yet")
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_whether_it_has_objects() {
        let list = |text: &str| any(&serde_json::from_str(text).unwrap());
        assert_eq!(list(r#"{"items":[{}]}"#), Some(true));
        assert_eq!(list(r#"{"items":[]}"#), Some(false));
        assert_eq!(list(r#"{"kind":"Status","code":403}"#), None);
    }

    #[test]
    fn conditions() {
        let said = |body: &str| {
            let object = serde_json::from_str(body).unwrap_or_default();
            condition(&object, "Ready").err()
        };
        let ready = r#"{"status": {"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}}"#;
        assert_eq!(said(ready), None);
        let not = r#"{"status": {"conditions": [{"type": "Ready", "status": "False", "message": "cni plugin not initialized\nmore"}]}}"#;
        assert_eq!(said(not).unwrap(), "cni plugin not initialized");
        let missing =
            r#"{"kind": "Status", "status": "Failure", "message": "nodes \"n\" not found"}"#;
        assert_eq!(said(missing).unwrap(), "nodes \"n\" not found");
        assert_eq!(said("").unwrap(), "not there yet");
    }

    #[test]
    fn reports_of_an_earlier_kubelet_do_not_count() {
        let node = serde_json::json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-26T11:22:41Z" },
        ]}});
        for (since, counts) in [
            (None, true),
            (Some("2026-11-26T11:22:40Z"), true),
            (Some("2026-11-26T11:22:41Z"), true),
            (Some("2026-11-26T11:22:42Z"), false),
        ] {
            assert_eq!(reported(&node, since).is_ok(), counts, "{since:?}");
        }
    }

    #[test]
    fn a_pod_counts_if_its_container_runs_in_this_runtime() {
        let list = |ready: &str, state: Value| {
            serde_json::json!({ "items": [{ "spec": { "nodeName": "a" }, "status": {
                "conditions": [{ "type": "Ready", "status": ready }],
                "containerStatuses": [{ "state": state }],
            }}]})
        };
        let running = serde_json::json!({ "running": { "startedAt": "2026-11-26T11:22:41Z" } });
        let here = |node, since| Some(Started { node, since });
        let before = here("a", "2026-11-26T11:20:00Z");
        let after = here("a", "2026-11-26T11:23:00Z");
        let elsewhere = here("b", "2026-11-26T11:23:00Z");
        assert_eq!(run(&list("True", running.clone()), elsewhere), Ok(()));
        assert_eq!(run(&list("True", running.clone()), before), Ok(()));
        assert!(run(&list("True", running.clone()), after).is_err());
        assert!(run(&list("False", running), before).is_err());
        let waiting = serde_json::json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        assert!(run(&list("True", waiting), before).is_err());
        assert!(run(&serde_json::json!({ "items": [] }), before).is_err());
    }

    #[test]
    fn the_latest_warning_is_reported() {
        let list = r#"{"items": [
            {"lastTimestamp": "2026-11-23T10:20:00Z", "message": "unknown version specified\nmore"},
            {"lastTimestamp": null, "message": "never"},
            {"lastTimestamp": "2026-11-23T10:19:59Z", "message": "no nodes available"}
        ]}"#;
        assert_eq!(latest_message(list).unwrap(), "unknown version specified");
        assert_eq!(latest_message(r#"{"items": []}"#), None);
    }
}
