//! Whether a request for a certificate is approved. Only nodes get certificates this way, each for itself alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::text;
use crate::components::joining::{BOOTSTRAPPERS, CLIENT_SIGNER, NODES, SERVING_SIGNER};
use crate::config::DnsName;
use crate::error::Result;
use crate::pki::{Asked, NODE_USER, read_request};

/// The beginning of the names of users with a bootstrap token; the public part of the token follows.
pub(super) const TOKEN_USER: &str = "system:bootstrap:";

/// A token as the cluster knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TokenFacts {
    /// The only node that it is for; empty for any.
    pub(super) node: String,
    pub(super) reusable: bool,
    /// The node that has used it; empty if none has.
    pub(super) used_by: String,
}

/// What must be known of the cluster.
pub(super) trait Cluster {
    /// The token with this public part.
    fn token(&self, id: &str) -> Result<Option<TokenFacts>>;
    /// Whether a node of this name is ready.
    fn is_ready(&self, node: &str) -> Result<bool>;
    /// The node with this address, if it is not this one.
    fn other_node_at(&self, address: &str, node: &str) -> Result<Option<String>>;
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is approved. With a token, that is spent, and the node may come back if it was removed.
    Approve { node: String, spend: Option<String> },
    /// It is denied, for this reason.
    Deny(String),
    /// It is somebody else's.
    Leave,
}

/// Decides about a request that nobody has decided about yet.
pub(super) fn decide(request: &Value, cluster: &impl Cluster) -> Result<Decision> {
    let signer = text(request, "/spec/signerName");
    let user = text(request, "/spec/username");
    let groups = request["spec"]["groups"].as_array();
    let is_in = |group: &str| groups.is_some_and(|groups| groups.iter().any(|g| g == group));
    let token = user
        .strip_prefix(TOKEN_USER)
        .filter(|_| is_in(BOOTSTRAPPERS));
    let is_node = user.starts_with(NODE_USER) && is_in(NODES);
    if !(signer == CLIENT_SIGNER && (is_node || token.is_some())
        || signer == SERVING_SIGNER && is_node)
    {
        return Ok(Decision::Leave);
    }
    let pem = BASE64.decode(text(request, "/spec/request")).ok();
    let pem = pem.and_then(|bytes| String::from_utf8(bytes).ok());
    let asked = pem.and_then(|pem| read_request(&pem));
    let deny = |why: &str| Ok(Decision::Deny(why.to_owned()));
    let Some((node, asked)) = asked.as_ref().and_then(of_node) else {
        return deny("the request is not for the identity of a node");
    };
    let serving = signer == SERVING_SIGNER;
    if !fits(
        request,
        if serving {
            "server auth"
        } else {
            "client auth"
        },
    ) {
        return deny("the request is for other purposes than a node has");
    }
    if is_node && user != format!("{NODE_USER}{node}") {
        return deny("a node asks for a certificate of another node");
    }
    if serving {
        return serves(&node, &asked, cluster);
    }
    if !asked.names.is_empty() || !asked.addresses.is_empty() {
        return deny("the certificate of a client has no addresses");
    }
    match token {
        Some(id) => joins(node, id, cluster),
        None => Ok(Decision::Approve { node, spend: None }),
    }
}

/// The name of the node, if the request is for exactly the identity of one.
fn of_node(asked: &Asked) -> Option<(String, Asked)> {
    let [user] = asked.common_names.as_slice() else {
        return None;
    };
    let node = user.strip_prefix(NODE_USER)?;
    // It becomes a part of paths: anything but a name would lead elsewhere.
    DnsName::new(node).ok()?;
    let exact = asked.organisations == [NODES] && !asked.more;
    exact.then(|| (node.to_owned(), asked.clone()))
}

/// Whether a certificate is asked for with this purpose, and no other one.
fn fits(request: &Value, purpose: &str) -> bool {
    let usages = request["spec"]["usages"].as_array();
    let usages: Vec<_> = usages
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let allowed = [purpose, "digital signature", "key encipherment"];
    usages.contains(&purpose) && usages.iter().all(|usage| allowed.contains(usage))
}

/// A machine with a token joins.
fn joins(node: String, id: &str, cluster: &impl Cluster) -> Result<Decision> {
    let Some(token) = cluster.token(id)? else {
        return Ok(Decision::Deny(UNKNOWN_TOKEN.to_owned()));
    };
    if !token.node.is_empty() && token.node != node {
        return Ok(Decision::Deny(format!(
            "the token is for the node {:?} and no other one",
            token.node
        )));
    }
    if cluster.is_ready(&node)? {
        return Ok(Decision::Deny(taken(&node)));
    }
    let used = !token.reusable && !token.used_by.is_empty();
    // The same machine may try again, if its first attempt was interrupted.
    if used && token.used_by != node {
        return Ok(Decision::Deny(format!(
            "the token was used by the node {:?} already",
            token.used_by
        )));
    }
    let spend = (!token.reusable).then(|| id.to_owned());
    Ok(Decision::Approve {
        node,
        spend: Some(spend.unwrap_or_default()),
    })
}

/// The reason if a token is not known.
pub(crate) const UNKNOWN_TOKEN: &str = "the token is unknown or has expired";

/// The reason if a name is taken.
pub(crate) fn taken(node: &str) -> String {
    format!("a node {node:?} is Ready in this cluster already")
}

/// A kubelet is to be reached at these addresses.
fn serves(node: &str, asked: &Asked, cluster: &impl Cluster) -> Result<Decision> {
    let other_name = asked.names.iter().find(|name| *name != node);
    if let Some(name) = other_name {
        return Ok(Decision::Deny(format!(
            "the node {node:?} has no other name, and asks for {name:?}"
        )));
    }
    for address in &asked.addresses {
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return Ok(Decision::Deny(format!("{address} is no address of a node")));
        }
        if let Some(other) = cluster.other_node_at(&address.to_string(), node)? {
            return Ok(Decision::Deny(format!(
                "the address {address} belongs to the node {other:?}"
            )));
        }
    }
    if asked.addresses.is_empty() {
        return Ok(Decision::Deny(
            "a kubelet is reached by an address, and the request has none".to_owned(),
        ));
    }
    let node = node.to_owned();
    Ok(Decision::Approve { node, spend: None })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
