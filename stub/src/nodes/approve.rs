//! `u7s-node-approver`: approves the certificates of machines that join, and of nodes that renew theirs.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::certificates::{REQUESTS, Wanted};
use super::decide::{Cluster, Decision, TokenFacts, decide};
use super::remove::let_back;
use super::token::OURS;
use super::{
    addresses, all_nodes, change, checked, is_ready, items, object, read_object, refused, text,
};
use crate::api::Client;
use crate::components::joining::NAMESPACE;
use crate::config::Config;
use crate::error::Result;
use crate::layout::{Kubeconfig, Layout};
use crate::pki::rfc3339;
use crate::process::say;

/// How often it looks for new requests. A machine that joins waits for that.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a token can still be used once a machine has used it: by the same machine, if its attempt was interrupted.
const AFTER_USE: Duration = Duration::from_mins(10);

/// Looks for requests until the process is told to stop. It must be in the network namespace.
pub(crate) fn approve(layout: &Layout, config: &Config) -> Result<u8> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, config.machines.api_port.get()));
    let mut fault = String::new();
    loop {
        // The certificate may be renewed meanwhile.
        let asked = Client::new(server, layout, Kubeconfig::NodeApprover)
            .and_then(|client| look(&Api { client, config }, layout));
        let now = asked
            .err()
            .map_or_else(String::new, |e| e.message().to_owned());
        if now != fault && !now.is_empty() {
            say(format!("cannot look for requests: {now}"));
        }
        fault = now;
        thread::sleep(INTERVAL);
    }
}

/// Decides about all requests that are open, and looks for kubelets that want to be reached.
fn look(api: &Api<'_>, layout: &Layout) -> Result<()> {
    let signers = [Wanted::Client, Wanted::Serving].map(Wanted::signer);
    for signer in signers {
        let path = format!(
            "{REQUESTS}?limit=500&fieldSelector=spec.signerName%3D{}",
            signer.replace('/', "%2F")
        );
        let answer = api.client.get(&path)?;
        if answer.status != 200 {
            return Err(refused(answer.status, &answer.body));
        }
        let list = read_object(&answer.body)?;
        for request in items(&list).filter(|request| is_open(request)) {
            if let Err(error) = settle(api, request) {
                let name = text(request, "/metadata/name");
                say(format!("cannot decide about {name}: {error}"));
            }
        }
    }
    checked::check_all(&api.client, layout)
}

fn is_open(request: &Value) -> bool {
    let conditions = request["status"]["conditions"].as_array();
    conditions.is_none_or(Vec::is_empty) && text(request, "/status/certificate").is_empty()
}

/// Decides about one request.
fn settle(api: &Api<'_>, request: &Value) -> Result<()> {
    let (name, user) = (
        text(request, "/metadata/name"),
        text(request, "/spec/username"),
    );
    let (kind, message) = match decide(request, api)? {
        Decision::Leave => return Ok(()),
        Decision::Deny(why) => ("Denied", why),
        Decision::Approve { node, spend } => {
            if let Some(id) = &spend {
                // The token is spent first: two machines with the same one must not both get in.
                if !id.is_empty() {
                    api.spend(id, &node)?;
                }
                let_back(&api.client, &node)?;
            }
            (
                "Approved",
                format!("node {node:?} may have this certificate"),
            )
        }
    };
    let mut decided = request.clone();
    // Items of a list lack these two.
    decided["apiVersion"] = "certificates.k8s.io/v1".into();
    decided["kind"] = "CertificateSigningRequest".into();
    if !decided["status"].is_object() {
        decided["status"] = json!({});
    }
    decided["status"]["conditions"] = json!([{
        "type": kind,
        "status": "True",
        "reason": "Usernetes",
        "message": message,
    }]);
    let path = format!("{REQUESTS}/{name}/approval");
    let answer = api.client.put(&path, &decided.to_string())?;
    if answer.status != 200 {
        return Err(refused(answer.status, &answer.body));
    }
    say(format!(
        "{name} of {user}: {} ({message})",
        kind.to_lowercase()
    ));
    Ok(())
}

/// The cluster, asked through its API server.
struct Api<'a> {
    client: Client,
    config: &'a Config,
}

fn token_path(id: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/bootstrap-token-{id}")
}

impl Cluster for Api<'_> {
    fn token(&self, id: &str) -> Result<Option<TokenFacts>> {
        let Some(secret) = object(&self.client, &token_path(id))? else {
            return Ok(None);
        };
        let annotation = |name: &str| {
            let text = secret["metadata"]["annotations"][name].as_str();
            text.unwrap_or_default().to_owned()
        };
        Ok(Some(TokenFacts {
            node: annotation(OURS.node),
            reusable: annotation(OURS.reusable) == "true",
            used_by: annotation(OURS.used_by),
        }))
    }

    fn is_ready(&self, node: &str) -> Result<bool> {
        let node = object(&self.client, &format!("/api/v1/nodes/{node}"))?;
        Ok(node.as_ref().is_some_and(is_ready))
    }

    fn other_node_at(&self, address: &str, node: &str) -> Result<Option<String>> {
        let own = self.config.node_name.as_str();
        if address == self.config.address().to_string() && node != own {
            return Ok(Some(own.to_owned()));
        }
        let list = all_nodes(&self.client)?;
        let others = items(&list).filter(|n| text(n, "/metadata/name") != node);
        let mut at = others.filter(|n| addresses(n).any(|a| a == address));
        Ok(at.next().map(|n| text(n, "/metadata/name").to_owned()))
    }
}

impl Api<'_> {
    /// Marks a token as used. It expires soon afterwards.
    fn spend(&self, id: &str, node: &str) -> Result<()> {
        let path = token_path(id);
        let secret = object(&self.client, &path)?.unwrap_or_default();
        if secret["metadata"]["annotations"][OURS.used_by] == node {
            return Ok(());
        }
        let soon = rfc3339(SystemTime::now() + AFTER_USE);
        let expires = BASE64.decode(text(&secret, "/data/expiration")).ok();
        let expires = expires.and_then(|bytes| String::from_utf8(bytes).ok());
        // Such texts sort like the times they describe.
        let expires = expires.filter(|expires| *expires < soon).unwrap_or(soon);
        let patch = json!({
            // Refused if anybody has changed it meanwhile.
            "metadata": {
                "resourceVersion": text(&secret, "/metadata/resourceVersion"),
                "annotations": { OURS.used_by: node },
            },
            "data": { "expiration": BASE64.encode(expires) },
        });
        change(&self.client, &path, &patch)
    }
}
