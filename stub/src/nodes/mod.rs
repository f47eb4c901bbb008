//! The machines of a cluster as nodes: tokens with which they join, their certificates, what each says about itself, the ways
//! between them, a list of them, and how to remove one.

mod approve;
mod authorities;
mod certificates;
mod checked;
mod decide;
mod facts;
mod files;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod identity;
mod list;
mod members;
mod peers;
mod remove;
mod sealed;
mod several;
mod token;
mod tokens;

pub(crate) use approve::approve;
pub use authorities::trusts_since;
pub(crate) use authorities::{old_tokens, report_authority, with_other_authority};
pub(crate) use certificates::{Wanted, request};
pub(crate) use checked::reached;
pub(crate) use decide::{UNKNOWN_TOKEN, taken};
pub(crate) use facts::keep_published;
pub(crate) use files::Files;
pub(crate) use identity::{Identity, JOIN_AGAIN, check_not_expired, renew};
pub use list::{Node, list};
pub use members::TWO;
pub(crate) use members::{
    Etcdctl, Member, OwnMember, answering, follow_members, forget_members, known_members,
    own_member, quorum, remember_members,
};
pub use peers::probe_peers;
pub(crate) use peers::{Peer, peers, silent};
pub(crate) use remove::let_back;
pub use remove::remove;
pub(crate) use sealed::Authorities;
pub use token::Token;
pub use tokens::{Listed, Purpose, create, delete, list as tokens};
pub(crate) use tokens::{fetch_authorities, spent};

use serde_json::Value;

use crate::api::{Client, MERGE_PATCH, complaint, condition, items, read_object};
use crate::cluster::Current;
use crate::error::{Error, Kind, Result};

/// The administrator's client. Fails on a machine that has no control plane, or does not publish it to itself.
fn administrator(current: &Current) -> Result<Client> {
    current.api()?.ok_or_else(|| {
        let error = Error::new(
            Kind::Usage,
            "the API server is not published on this machine",
        );
        if current.config.machines.is_worker() {
            error.hint(
                "this machine is a worker: run the command on the machine with the control plane",
            )
        } else {
            error.hint("run `usernetes port publish 127.0.0.1:6443:6443/tcp`")
        }
    })
}

/// Asks for an object. `None` if there is none.
fn object(client: &Client, path: &str) -> Result<Option<Value>> {
    let answer = client.get(path)?;
    match answer.status {
        200 => Ok(Some(read_object(&answer.body)?)),
        404 => Ok(None),
        status => Err(refused(status, &answer.body)),
    }
}

/// Changes parts of an object.
fn change(client: &Client, path: &str, parts: &Value) -> Result<()> {
    let answer = client.patch(path, MERGE_PATCH, &parts.to_string())?;
    match answer.status {
        200 => Ok(()),
        status => Err(refused(status, &answer.body)),
    }
}

/// A list with all nodes of the cluster.
fn all_nodes(client: &Client) -> Result<Value> {
    object(client, "/api/v1/nodes?limit=1000").map(Option::unwrap_or_default)
}

/// The error for an answer of the API server that is no success.
fn refused(status: u16, body: &str) -> Error {
    Error::new(
        Kind::Failed,
        format!("the API server refuses this: {}", complaint(status, body)),
    )
}

/// A text in an object; empty if there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

/// Whether a node is ready.
fn is_ready(node: &Value) -> bool {
    condition(node, "Ready").is_ok()
}

/// The port of a node's kubelet.
fn kubelet_port(node: &Value) -> Option<u16> {
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port");
    u16::try_from(port?.as_u64()?).ok()
}

/// The addresses at which other machines reach a node.
fn addresses(node: &Value) -> impl Iterator<Item = &str> {
    let addresses = node["status"]["addresses"].as_array();
    let addresses = addresses.into_iter().flatten();
    let internal = addresses.filter(|address| address["type"] == "InternalIP");
    internal.filter_map(|address| address["address"].as_str())
}
