//! Requests that are approved, denied and left alone.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use super::*;
use crate::pki::{node_key, node_request};

/// A cluster with a node `a`, which is ready and has an address, and tokens by their ids.
struct Example;

impl Cluster for Example {
    fn token(&self, id: &str) -> Result<Option<TokenFacts>> {
        let facts = |node: &str, reusable, used_by: &str| TokenFacts {
            node: node.to_owned(),
            reusable,
            used_by: used_by.to_owned(),
        };
        Ok(match id {
            "plain" => Some(facts("", false, "")),
            "for-b" => Some(facts("b", false, "")),
            "used-b" => Some(facts("", false, "b")),
            "again" => Some(facts("", true, "")),
            _ => None,
        })
    }

    fn is_ready(&self, node: &str) -> Result<bool> {
        Ok(node == "a")
    }

    fn other_node_at(&self, address: &str, node: &str) -> Result<Option<String>> {
        let other = address == "192.0.2.1" && node != "a";
        Ok(other.then(|| "a".to_owned()))
    }
}

/// A request of a user in a group.
fn request(user: &str, group: &str, signer: &str, usage: &str, pem: &str) -> Value {
    json!({ "spec": {
        "username": user,
        "groups": [group, "system:authenticated"],
        "signerName": signer,
        "usages": ["digital signature", usage],
        "request": BASE64.encode(pem),
    }})
}

fn pem(node: &str, address: Option<&str>) -> String {
    let key = node_key(None).unwrap();
    let address = address.map(|address| address.parse().unwrap());
    node_request(&key, &DnsName::new(node).unwrap(), address).unwrap()
}

fn with_token(id: &str, node: &str) -> Decision {
    let user = format!("system:bootstrap:{id}");
    let pem = pem(node, None);
    let request = request(&user, BOOTSTRAPPERS, CLIENT_SIGNER, "client auth", &pem);
    decide(&request, &Example).unwrap()
}

fn approved(node: &str, spend: Option<&str>) -> Decision {
    Decision::Approve {
        node: node.to_owned(),
        spend: spend.map(str::to_owned),
    }
}

fn denied(why: &str) -> Decision {
    Decision::Deny(why.to_owned())
}

#[test]
fn a_machine_joins_with_a_token() {
    assert_eq!(with_token("plain", "b"), approved("b", Some("plain")));
    assert_eq!(with_token("for-b", "b"), approved("b", Some("for-b")));
    assert_eq!(with_token("used-b", "b"), approved("b", Some("used-b")));
    assert_eq!(with_token("again", "b"), approved("b", Some("")));
}

#[test]
fn tokens_are_for_one_machine_of_a_name_that_is_free() {
    assert_eq!(with_token("other", "b"), denied(UNKNOWN_TOKEN));
    assert_eq!(
        with_token("for-b", "c"),
        denied("the token is for the node \"b\" and no other one")
    );
    assert_eq!(
        with_token("used-b", "c"),
        denied("the token was used by the node \"b\" already")
    );
    assert_eq!(
        with_token("plain", "a"),
        denied("a node \"a\" is Ready in this cluster already")
    );
}

#[test]
fn a_node_renews_its_own_certificates_only() {
    let ask = |user: &str, signer, usage, pem: &str| {
        decide(&request(user, NODES, signer, usage, pem), &Example).unwrap()
    };
    let client = |user: &str, node: &str| {
        let user = format!("{NODE_USER}{user}");
        ask(&user, CLIENT_SIGNER, "client auth", &pem(node, None))
    };
    assert_eq!(client("b", "b"), approved("b", None));
    let other = "a node asks for a certificate of another node";
    assert_eq!(client("b", "c"), denied(other));
    let serving = |node: &str, address| {
        let pem = pem(node, Some(address));
        ask("system:node:b", SERVING_SIGNER, "server auth", &pem)
    };
    assert_eq!(serving("b", "192.0.2.2"), approved("b", None));
    assert_eq!(serving("c", "192.0.2.2"), denied(other));
    assert_eq!(
        serving("b", "192.0.2.1"),
        denied("the address 192.0.2.1 belongs to the node \"a\"")
    );
    assert_eq!(
        serving("b", "127.0.0.1"),
        denied("127.0.0.1 is no address of a node")
    );
    let purposes = "the request is for other purposes than a node has";
    let pem = pem("b", None);
    assert_eq!(
        ask("system:node:b", CLIENT_SIGNER, "server auth", &pem),
        denied(purposes)
    );
}

#[test]
fn requests_of_others_are_left_to_others() {
    let pem = pem("b", None);
    for (user, group, signer) in [
        ("jane", "system:masters", CLIENT_SIGNER),
        (
            "system:bootstrap:plain",
            "system:bootstrappers:x",
            CLIENT_SIGNER,
        ),
        ("system:bootstrap:plain", BOOTSTRAPPERS, SERVING_SIGNER),
        ("system:node:b", "system:authenticated", CLIENT_SIGNER),
        (
            "system:node:b",
            NODES,
            "kubernetes.io/kube-apiserver-client",
        ),
    ] {
        let request = request(user, group, signer, "client auth", &pem);
        assert_eq!(
            decide(&request, &Example).unwrap(),
            Decision::Leave,
            "{user}"
        );
    }
}

/// Found while `tests/fuzz` was written. Whoever has a token chooses the name, and it becomes a part of the paths of requests.
#[test]
fn a_node_has_the_name_of_a_node() {
    let user = "system:bootstrap:plain";
    for name in [
        "",
        "b HTTP/1.1\r\nHost: a\r\n\r\nDELETE /api/v1/nodes/a",
        "b/../a",
        "b?dryRun=All",
        "B",
    ] {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let mut push = |kind, text: &str| params.distinguished_name.push(kind, text);
        push(DnType::OrganizationName, NODES);
        push(DnType::CommonName, &format!("{NODE_USER}{name}"));
        let key = KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let request = request(user, BOOTSTRAPPERS, CLIENT_SIGNER, "client auth", &pem);
        assert_eq!(
            decide(&request, &Example).unwrap(),
            denied("the request is not for the identity of a node"),
            "{name}"
        );
    }
}

#[test]
fn only_the_identity_of_a_node_is_approved() {
    let user = "system:bootstrap:plain";
    for pem in ["", "nonsense"] {
        let request = request(user, BOOTSTRAPPERS, CLIENT_SIGNER, "client auth", pem);
        assert_eq!(
            decide(&request, &Example).unwrap(),
            denied("the request is not for the identity of a node")
        );
    }
    let pem = pem("b", Some("192.0.2.2"));
    let request = request(user, BOOTSTRAPPERS, CLIENT_SIGNER, "client auth", &pem);
    assert_eq!(
        decide(&request, &Example).unwrap(),
        denied("the certificate of a client has no addresses")
    );
}
