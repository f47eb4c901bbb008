//! How other machines follow when the cluster replaces its authorities: the control plane names the new ones in its description,
//! each worker takes them over, gets certificates of them, and says so on its node.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs_err as fs;
use serde_json::{Value, json};

use super::{all_nodes, change, items, object, text};
use crate::api::Client;
use crate::cluster::Current;
use crate::components::joining::{AUTHORITIES, AUTHORITY_OF_NODE, CLUSTER, NAMESPACE};
use crate::digest::Sha256;
use crate::error::Result;
use crate::files::replace;
use crate::layout::Credential;
use crate::pki::{Authority, Made};

/// The authorities that a worker trusts.
pub(super) fn trusted(current: &Current) -> Result<Authority> {
    Authority::of_file(&current.layout.certificate(Credential::NodeAuthority))
}

/// Asks the cluster which authorities to trust, and writes them down if they are others than before. Who answers has proved
/// that it has a certificate of one that this machine trusts already. Afterwards they are on disk.
pub(super) fn learn(current: &Current) -> Result<Option<Made>> {
    let client = current.node_api()?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{CLUSTER}");
    let Some(described) = object(&client, &path)? else {
        return Ok(None);
    };
    let named = described["data"][AUTHORITIES].as_str().unwrap_or_default();
    if named.is_empty() {
        return Ok(None);
    }
    let pem = Authority::parse(named)?.pem();
    if pem == trusted(current)?.pem() {
        return Ok(None);
    }
    let file = Credential::NodeAuthority.certificate();
    replace(&current.layout.config().join(&file), pem.as_bytes(), 0o644)?;
    Ok(Some(Made {
        file,
        reason: "did not contain the authorities of the cluster".to_owned(),
        expired: false,
    }))
}

/// Since when a worker trusts two authorities; `None` if there is one, or this machine has a control plane. Services that were
/// started before know one only.
#[must_use]
pub fn trusts_since(current: &Current) -> Option<SystemTime> {
    if !current.config.machines.is_worker() || !trusted(current).ok()?.is_several() {
        return None;
    }
    let file = current.layout.certificate(Credential::NodeAuthority);
    fs::metadata(file).ok()?.modified().ok()
}

/// Says on a worker's node which authority has issued both its certificates, if there are two authorities. Its services must
/// have been started since.
pub(crate) fn report_authority(current: &Current) -> Result<()> {
    let authority = trusted(current)?;
    let mut issued = [Credential::KubeletClient, Credential::Kubelet].into_iter();
    let all = issued.all(|credential| {
        let certificate = fs::read_to_string(current.layout.certificate(credential));
        certificate.is_ok_and(|text| authority.issues(&text))
    });
    if !all || !authority.is_several() {
        return Ok(());
    }
    let client = current.node_api()?;
    let path = format!("/api/v1/nodes/{}", current.config.node_name);
    let patch = json!({
        "metadata": { "annotations": { AUTHORITY_OF_NODE: name(&authority) } },
    });
    change(&client, &path, &patch)
}

/// The name of an authority on a node.
fn name(authority: &Authority) -> String {
    authority.key_digest().short(16)
}

/// The other machines whose certificates are not of this authority, as far as they have said.
pub(crate) fn with_other_authority(
    client: &Client,
    own: &str,
    authority: &Authority,
) -> Result<Vec<String>> {
    Ok(lagging(&all_nodes(client)?, own, &name(authority)))
}

fn lagging(nodes: &Value, own: &str, wanted: &str) -> Vec<String> {
    let others = items(nodes).filter(|node| {
        let said = node["metadata"]["annotations"][AUTHORITY_OF_NODE].as_str();
        text(node, "/metadata/name") != own && said != Some(wanted)
    });
    others
        .map(|node| text(node, "/metadata/name").to_owned())
        .collect()
}

/// The secrets with a token of a service account that was signed with this key. Nobody renews them.
pub(crate) fn old_tokens(client: &Client, key: &Sha256) -> Result<Vec<String>> {
    let path =
        "/api/v1/secrets?limit=1000&fieldSelector=type%3Dkubernetes.io%2Fservice-account-token";
    let secrets = object(client, path)?.unwrap_or_default();
    Ok(signed_with(&secrets, key))
}

fn signed_with(secrets: &Value, key: &Sha256) -> Vec<String> {
    let id = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let old = items(secrets).filter(|secret| key_id(secret).as_ref() == Some(&id));
    old.map(|secret| {
        let part = |name: &str| text(secret, name).to_owned();
        format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"))
    })
    .collect()
}

/// The id of the key that has signed the token in a secret.
fn key_id(secret: &Value) -> Option<String> {
    use base64::engine::general_purpose::STANDARD;
    let token = STANDARD.decode(secret["data"]["token"].as_str()?).ok()?;
    let head = token.split(|byte| *byte == b'.').next()?;
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    Some(head["kid"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_have_not_followed_are_named() {
        let node = |name: &str, said: Option<&str>| {
            let mut node = json!({ "metadata": { "name": name } });
            if let Some(said) = said {
                node["metadata"]["annotations"][AUTHORITY_OF_NODE] = said.into();
            }
            node
        };
        let nodes = json!({ "items": [
            node("a", None), node("b", Some("new")), node("c", Some("old")), node("d", None),
        ] });
        assert_eq!(lagging(&nodes, "a", "new"), ["c", "d"]);
        assert!(lagging(&Value::Null, "a", "new").is_empty());
    }

    #[test]
    fn secrets_with_a_token_of_the_old_key_are_named() {
        use base64::engine::general_purpose::STANDARD;
        let key = Sha256::of(b"old");
        let secret = |name: &str, kid: &str| {
            let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": kid }).to_string());
            let token = STANDARD.encode(format!("{head}.body.signature"));
            json!({
                "metadata": { "name": name, "namespace": "default" },
                "data": { "token": token },
            })
        };
        let old = URL_SAFE_NO_PAD.encode(key.as_bytes());
        let secrets = json!({ "items": [
            secret("a", &old), secret("b", "another"), json!({ "metadata": { "name": "c" } }),
        ] });
        assert_eq!(signed_with(&secrets, &key), ["default/a"]);
    }
}
