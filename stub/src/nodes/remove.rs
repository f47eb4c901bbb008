//! `node remove`

use std::thread;
use std::time::{Duration, Instant};

use super::{administrator, is_ready, object, refused};
use crate::api::apply;
use crate::child;
use crate::cluster::Current;
use crate::components::joining::removal;
use crate::config::DnsName;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// How long a removed node is watched. The API server needs a moment to learn a new policy, and the kubelet of the node would
/// register it again.
const WATCH: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(1);

/// Removes a node: moves its pods to other nodes, for at most `patience`, deletes it, and refuses everything that its machine
/// writes from then on. With a new token it can join again.
pub fn remove(
    current: &Current,
    name: &DnsName,
    patience: Duration,
    progress: &Progress,
) -> Result<()> {
    let client = administrator(current)?;
    if *name == current.config.node_name {
        return Err(Error::new(
            Kind::Usage,
            format!("the node {name} has the control plane of this cluster"),
        )
        .hint("to remove the whole cluster, run `usernetes uninstall --purge`"));
    }
    let path = format!("/api/v1/nodes/{name}");
    let Some(node) = object(&client, &path)? else {
        return Err(Error::new(Kind::Usage, format!("there is no node {name}"))
            .hint("`usernetes node list` shows them"));
    };
    if is_ready(&node) {
        let timeout = format!("--timeout={}s", patience.as_secs());
        let drain = ["kubectl", "drain", name.as_str(), &timeout, "--force"];
        let options = ["--ignore-daemonsets", "--delete-emptydir-data"];
        let mut drain = current.own_command(&drain);
        let ended = child::run(drain.args(options))?;
        if let Err(error) = ended.success() {
            progress.line(format!("not all pods could be moved in time: {error}"));
        }
    }
    if let Some(complaint) = apply(&client, &removal(name.as_str()))? {
        return Err(Error::new(
            Kind::Failed,
            format!("cannot keep the node's certificate out: {complaint}"),
        ));
    }
    let began = Instant::now();
    loop {
        let answer = client.delete(&path)?;
        if !matches!(answer.status, 200 | 202 | 404) {
            return Err(refused(answer.status, &answer.body));
        }
        if began.elapsed() > WATCH {
            break;
        }
        thread::sleep(INTERVAL);
    }
    if object(&client, &path)?.is_some() {
        return Err(
            Error::new(Kind::Failed, format!("the node {name} comes back"))
                .hint("stop the cluster on that machine, then run this again"),
        );
    }
    progress.line(format!(
        "node {name} is removed; on that machine, `usernetes uninstall --purge` removes what is left there"
    ));
    Ok(())
}
