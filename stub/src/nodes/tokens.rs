//! `token create|list|delete`. A token is a bootstrap token of Kubernetes: a secret in the cluster, which the API server accepts
//! until it expires.

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Value, json};

use super::token::{OURS, Token};
use super::{administrator, items, read_object, refused, text};
use crate::cluster::Current;
use crate::components::joining::{BOOTSTRAPPERS, NAMESPACE};
use crate::config::{Cni, DnsName};
use crate::error::{Error, Kind, Result};
use crate::layout::Credential;
use crate::pki::{Authority, rfc3339};

/// The type of the secrets of bootstrap tokens.
const TYPE: &str = "bootstrap.kubernetes.io/token";

fn secrets() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

/// Makes a token. It is valid for `ttl` and for one machine, unless it is `reusable`; with a name, only for a node of this name.
/// The API server knows it afterwards.
pub fn create(
    current: &Current,
    node: Option<&DnsName>,
    ttl: Duration,
    reusable: bool,
) -> Result<Token> {
    let machines = &current.config.machines;
    let client = administrator(current)?;
    let Some(address) = machines.address else {
        return Err(
            Error::new(Kind::Usage, "other machines cannot reach this cluster")
                .expected("an address of this machine in `machines.address`")
                .found("none")
                .hint("run `usernetes install --address ADDRESS --cni flannel` first"),
        );
    };
    if current.config.cni == Cni::Bridge {
        return Err(Error::new(
            Kind::Usage,
            "the pod network of this cluster connects the pods of one machine only",
        )
        .expected("`cni = \"flannel\"`")
        .found(format!("`cni = \"{}\"`", current.config.cni))
        .hint("run `usernetes install --cni flannel` first"));
    }
    let file = current.layout.certificate(Credential::ClusterAuthority);
    let authority = Authority::of_file(&file)?;
    // While the authorities are replaced, the API server still shows a certificate of the old one.
    let shown = current.layout.certificate(Credential::ApiServer);
    let authority = authority
        .issuer_of(&fs_err::read_to_string(&shown)?)
        .unwrap_or(authority);
    let endpoint = SocketAddrV4::new(address, machines.api_port.get());
    let token = Token::new(vec![endpoint], authority.key_digest())?;
    let secret = secret(&token, node, SystemTime::now() + ttl, reusable);
    let answer = client.post(&secrets(), &secret.to_string())?;
    if answer.status != 201 {
        return Err(refused(answer.status, &answer.body));
    }
    Ok(token)
}

/// The secret from which the API server knows a token.
fn secret(token: &Token, node: Option<&DnsName>, expires: SystemTime, reusable: bool) -> Value {
    let mut annotations = json!({ OURS.reusable: reusable.to_string() });
    if let Some(node) = node {
        annotations[OURS.node] = node.as_str().into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {
            "name": format!("bootstrap-token-{}", token.id),
            "namespace": NAMESPACE,
            "annotations": annotations,
        },
        "stringData": {
            "token-id": token.id,
            "token-secret": token.secret,
            "expiration": rfc3339(expires),
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": BOOTSTRAPPERS,
        },
    })
}

/// A token, without its secret part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its public part.
    pub id: String,
    /// The name of the node that it is for; empty for any.
    pub node: String,
    /// Whether several machines may use it.
    pub reusable: bool,
    /// The name of the node that has used it.
    pub used_by: String,
    /// When it expires, RFC 3339 in UTC.
    pub expires: String,
}

/// The tokens that have not expired, as far as the cluster has noticed.
pub fn list(current: &Current) -> Result<Vec<Listed>> {
    let client = administrator(current)?;
    let path = format!(
        "{}?fieldSelector=type%3D{}",
        secrets(),
        TYPE.replace('/', "%2F")
    );
    let answer = client.get(&path)?;
    if answer.status != 200 {
        return Err(refused(answer.status, &answer.body));
    }
    let secrets = read_object(&answer.body)?;
    Ok(items(&secrets).filter_map(listed).collect())
}

/// A token of ours; nothing for others.
fn listed(secret: &Value) -> Option<Listed> {
    let decoded = |key: &str| {
        let bytes = BASE64.decode(secret["data"][key].as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    if decoded("auth-extra-groups")? != BOOTSTRAPPERS {
        return None;
    }
    let annotation = |name: &str| {
        let text = secret["metadata"]["annotations"][name].as_str();
        text.unwrap_or_default().to_owned()
    };
    Some(Listed {
        id: decoded("token-id")?,
        node: annotation(OURS.node),
        reusable: annotation(OURS.reusable) == "true",
        used_by: annotation(OURS.used_by),
        expires: decoded("expiration")?,
    })
}

/// Deletes a token. Machines that have joined with it stay.
pub fn delete(current: &Current, id: &str) -> Result<()> {
    let client = administrator(current)?;
    let unknown = || {
        Error::new(Kind::Usage, format!("there is no token `{id}`"))
            .hint("`usernetes token list` shows their ids")
    };
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(unknown());
    }
    let path = format!("{}/bootstrap-token-{id}", secrets());
    let found = super::object(&client, &path)?;
    if text(&found.unwrap_or_default(), "/type") != TYPE {
        return Err(unknown());
    }
    let answer = client.delete(&path)?;
    match answer.status {
        200 => Ok(()),
        404 => Err(unknown()),
        status => Err(refused(status, &answer.body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn the_secret_of_a_token() {
        let token = Token {
            endpoints: vec!["192.0.2.7:6443".parse().unwrap()],
            authority: Sha256::of(b"key"),
            id: "abcdef".to_owned(),
            secret: "0123456789abcdef".to_owned(),
        };
        let node = DnsName::new("b").unwrap();
        let expires = SystemTime::UNIX_EPOCH + Duration::from_hours(499_656);
        let mut secret = secret(&token, Some(&node), expires, false);
        insta::assert_snapshot!(format!("{secret:#}"), @r#"
        {
          "apiVersion": "v1",
          "kind": "Secret",
          "metadata": {
            "annotations": {
              "usernetes/node": "b",
              "usernetes/reusable": "false"
            },
            "name": "bootstrap-token-abcdef",
            "namespace": "kube-system"
          },
          "stringData": {
            "auth-extra-groups": "system:bootstrappers:u7s",
            "expiration": "2027-01-01T00:00:00Z",
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true"
          },
          "type": "bootstrap.kubernetes.io/token"
        }
        "#);
        // The API server gives it back encoded.
        for (key, value) in secret["stringData"].as_object().unwrap().clone() {
            secret["data"][key] = BASE64.encode(value.as_str().unwrap()).into();
        }
        secret["metadata"]["annotations"][OURS.used_by] = "b".into();
        let expected = Listed {
            id: "abcdef".to_owned(),
            node: "b".to_owned(),
            reusable: false,
            used_by: "b".to_owned(),
            expires: "2027-01-01T00:00:00Z".to_owned(),
        };
        assert_eq!(listed(&secret), Some(expected));
        secret["data"]["auth-extra-groups"] = BASE64.encode("system:bootstrappers:kubeadm").into();
        assert_eq!(listed(&secret), None);
    }
}
