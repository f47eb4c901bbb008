//! The pods that are ready, before and after a change.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Client;
use super::objects::{Started, ask, condition, items, runs};

/// Pods that were ready at some time: their names by their unique ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadyPods(BTreeMap<String, String>);

impl ReadyPods {
    /// Those that are ready now; `None` if the API server does not say.
    pub(crate) fn now(client: &Client) -> Option<Self> {
        list(client).ok().map(|pods| Self::of(&pods))
    }

    fn of(pods: &Value) -> Self {
        let ready = items(pods).filter(|pod| condition(pod, "Ready").is_ok());
        Self(ready.map(|pod| (id(pod), name(pod))).collect())
    }

    /// Checks that each of them is ready again, or was deleted.
    pub(crate) fn are_back(
        &self,
        client: &Client,
        started: Option<Started<'_>>,
    ) -> Result<(), String> {
        self.are_in(&list(client)?, started)
    }

    fn are_in(&self, pods: &Value, started: Option<Started<'_>>) -> Result<(), String> {
        let waiting: Vec<_> = items(pods)
            .filter(|pod| {
                self.0.contains_key(&id(pod)) && !has_ended_well(pod) && !runs(pod, started)
            })
            .map(name)
            .collect();
        match &waiting[..] {
            [] => Ok(()),
            [one] => Err(format!("{one} is not ready")),
            [first, others @ ..] => Err(format!("{first} and {} more are not ready", others.len())),
        }
    }
}

/// Whether a pod has done its work and will not be ready again.
fn has_ended_well(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded"
}

fn list(client: &Client) -> Result<Value, String> {
    let list = ask(client, "/api/v1/pods")?;
    if list["items"].is_array() {
        return Ok(list);
    }
    Err("the API server does not list pods".to_owned())
}

fn id(pod: &Value) -> String {
    let id = pod["metadata"]["uid"].as_str();
    id.unwrap_or_default().to_owned()
}

fn name(pod: &Value) -> String {
    let text = |key| pod["metadata"][key].as_str().unwrap_or_default();
    format!("pod {}/{}", text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, ready: &str, started: &str) -> Value {
        json!({
            "metadata": { "name": name, "namespace": "default", "uid": format!("id-{name}") },
            "spec": { "nodeName": "here" },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": ready }],
                "containerStatuses": [{ "state": { "running": { "startedAt": started } } }],
            },
        })
    }

    #[test]
    fn pods_are_back_when_they_are_ready_in_the_new_runtime() {
        let (old, new) = ("2026-11-26T10:00:00Z", "2026-11-26T12:00:01Z");
        let before = json!({ "items": [pod("a", "True", old), pod("b", "True", old), pod("c", "False", old)] });
        let ready = ReadyPods::of(&before);
        let started = Some(Started {
            node: "here",
            since: "2026-11-26T12:00:00Z",
        });
        let said = |items: Value| ready.are_in(&json!({ "items": items }), started);
        let a = pod("a", "True", new);
        assert_eq!(
            said(json!([a, pod("b", "True", old)])).unwrap_err(),
            "pod default/b is not ready"
        );
        assert_eq!(
            said(json!([pod("a", "False", new), pod("b", "True", old)])).unwrap_err(),
            "pod default/a and 1 more are not ready"
        );
        // The third was not ready before, and the second was replaced.
        said(json!([a, pod("c", "False", new), pod("d", "False", new)])).unwrap();
        let mut ended = pod("b", "False", old);
        ended["status"]["phase"] = "Succeeded".into();
        said(json!([a, ended])).unwrap();
        // This machine's start does not touch the pods of another one.
        let mut far = pod("b", "True", old);
        far["spec"]["nodeName"] = "there".into();
        said(json!([a, far])).unwrap();
    }
}
