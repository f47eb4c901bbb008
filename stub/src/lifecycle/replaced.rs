//! What follows when the authorities are replaced: services restart in order, and the cluster's own objects and pods get to know
//! the new ones.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ready::{PATIENCE, Waiter};
use super::renewed::restart_all;
use super::start::description;
use crate::api::{Client, MERGE_PATCH, apply, complaint, read_object};
use crate::cluster::Current;
use crate::components::joining::AUTHORITY_OF_NODE;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName};
use crate::systemd::Unit;

/// The deployments of ours that talk to the API server. Their programs read the authority's certificate only when they start.
const DEPLOYMENTS: [&str; 3] = ["coredns", "local-path-provisioner", "metrics-server"];
const INTERVAL: Duration = Duration::from_secs(1);

/// Restarts those of these services that run, in their order, and waits until they work. Pods keep running. Gives a client
/// of the API server, if that runs and is published on this machine.
pub(crate) fn restart_and_wait(
    current: &Current,
    wanted: impl Fn(Service) -> bool,
    progress: &Progress,
) -> Result<Option<Client>> {
    let config = &current.config;
    let services = Services::of(config);
    let manager = match current.manager() {
        Ok(manager) => manager,
        // Without a service manager, nothing runs.
        Err(_) if !current.is_running() => return Ok(None),
        Err(error) => return Err(error),
    };
    let manager = manager.as_ref();
    let before = manager.units(&services.all_units())?;
    let runs = |service: &Service| {
        let name = services.unit(*service);
        before.iter().any(|u| name == *u.name() && !u.is_stopped())
    };
    let restarted = services.iter().filter(|service| wanted(*service));
    let restarted: Vec<_> = restarted.filter(runs).collect();
    let names = services.units(&restarted);
    let serves = runs(&Service::KubeApiserver);
    let waiter = Waiter::new(manager, progress, names.clone(), before.clone(), PATIENCE);
    restart_all(manager, names.iter().map(UnitName::as_str), progress)?;
    waiter.units()?;
    let client = if serves { current.api()? } else { None };
    if let Some(client) = &client {
        waiter.api_ready(client)?;
        let kubelet = services.unit(Service::Kubelet);
        let states = manager.units(std::slice::from_ref(&kubelet))?;
        if let Some(kubelet) = states.iter().find(|unit| Unit::is_active(unit)) {
            waiter.node(client, config, kubelet)?;
        }
    }
    Ok(client)
}

/// Writes the cluster's description for other machines again, with the authorities that it has now.
pub(crate) fn publish_description(current: &Current, client: &Client) -> Result<()> {
    if !current.config.machines.is_joinable() {
        return Ok(());
    }
    match apply(client, &[description(current)?])? {
        None => Ok(()),
        Some(why) => Err(Error::new(
            Kind::Failed,
            format!("the API server refuses the description of the cluster: {why}"),
        )),
    }
}

/// Lets the deployments of ours make their pods anew, each one before the one that it replaces ends, and waits for that.
/// `authority` names the authority that they get to know: with the same one, nothing happens.
pub(crate) fn renew_pods_of_ours(
    client: &Client,
    authority: &str,
    progress: &Progress,
) -> Result<()> {
    let patch = json!({ "spec": { "template": { "metadata": {
        "annotations": { AUTHORITY_OF_NODE: authority },
    } } } })
    .to_string();
    for name in DEPLOYMENTS {
        let path = format!("/apis/apps/v1/namespaces/kube-system/deployments/{name}");
        let answer = client.patch(&path, MERGE_PATCH, &patch)?;
        match answer.status {
            200 => {}
            404 => continue,
            status => {
                return Err(Error::new(
                    Kind::Failed,
                    format!("{name}: {}", complaint(status, &answer.body)),
                ));
            }
        }
        wait_until(progress, &format!("{name} made anew"), || {
            let answer = client.get(&path)?;
            Ok(answer.status == 200 && is_made_anew(&read_object(&answer.body)?))
        })?;
    }
    Ok(())
}

/// Whether all pods of a deployment are those that it wants now, and are available.
fn is_made_anew(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .into_iter()
            .all(|count| number(&status[count]) == wanted)
}

/// Waits until something holds, as long as the start of a cluster may take. A question that fails is asked again.
pub(crate) fn wait_until(
    progress: &Progress,
    what: &str,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let wait = progress.wait(what);
    let started = Instant::now();
    loop {
        let state = match holds() {
            Ok(true) => break,
            Ok(false) => "not yet".to_owned(),
            Err(error) => error.message().to_owned(),
        };
        wait.say(&state);
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let error = Error::new(
                Kind::Failed,
                format!("{what}: not reached after {seconds} s"),
            );
            return Err(error.detail("state", state).hint(
                "`usernetes status` shows what does not work; run the same command again afterwards",
            ));
        }
        thread::sleep(INTERVAL);
    }
    wait.finish("done");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_made_anew_when_only_new_pods_are_left() {
        let mut deployment = json!({
            "metadata": { "generation": 3 },
            "spec": { "replicas": 1 },
            "status": {
                "observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            },
        });
        assert!(is_made_anew(&deployment));
        deployment["status"]["replicas"] = 2.into();
        assert!(!is_made_anew(&deployment), "the old one still ends");
        deployment["status"]["replicas"] = 1.into();
        deployment["status"]["observedGeneration"] = 2.into();
        assert!(!is_made_anew(&deployment), "the change was not seen yet");
    }
}
