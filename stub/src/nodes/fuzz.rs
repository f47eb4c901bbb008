//! Opens the decision about requests for certificates to `tests/fuzz`. Only with the feature `fuzz`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::decide::{Cluster, Decision, TokenFacts, decide};
use crate::components::joining::{BOOTSTRAPPERS, CLIENT_SIGNER, NODES, SERVING_SIGNER};
use crate::error::Result;
use crate::pki::read_request;

/// A cluster without nodes in which every token is good.
struct Open;

impl Cluster for Open {
    fn token(&self, _: &str) -> Result<Option<TokenFacts>> {
        Ok(Some(TokenFacts::default()))
    }

    fn is_ready(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    fn other_node_at(&self, _: &str, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// The names of the nodes that get a certificate by this request: a machine with a token asks, and then the node that it says
/// it is.
#[must_use]
pub fn approved(pem: &str) -> Vec<String> {
    let names = read_request(pem).map_or_else(Vec::new, |asked| asked.common_names);
    let token = (
        "system:bootstrap:abcdef",
        BOOTSTRAPPERS,
        CLIENT_SIGNER,
        "client auth",
    );
    let nodes = names
        .iter()
        .map(|name| (name.as_str(), NODES, SERVING_SIGNER, "server auth"));
    let decisions = nodes.chain([token]).map(|(user, group, signer, usage)| {
        let request = json!({ "spec": {
            "username": user,
            "groups": [group],
            "signerName": signer,
            "usages": ["digital signature", usage],
            "request": BASE64.encode(pem),
        }});
        decide(&request, &Open)
    });
    decisions
        .filter_map(|decision| match decision {
            Ok(Decision::Approve { node, .. }) => Some(node),
            _ => None,
        })
        .collect()
}
