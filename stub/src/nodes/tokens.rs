//! `token create|list|delete`. A token is a bootstrap token of Kubernetes: a secret in the cluster, which the API server accepts
//! until it expires.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Value, json};

use super::decide::{TOKEN_USER, UNKNOWN_TOKEN};
use super::members::known_members;
use super::sealed::Authorities;
use super::several;
use super::token::{OURS, Token};
use super::{administrator, items, read_object, refused, text};
use crate::api::{Client, apply};
use crate::cluster::Current;
use crate::components::joining::{BOOTSTRAPPERS, NAMESPACE};
use crate::config::{Cni, DnsName};
use crate::error::{Error, Kind, Result};
use crate::layout::Credential;
use crate::pki::{self, Authority, rfc3339};
use crate::progress::Progress;
use crate::render::{role, user};

/// The type of the secrets of bootstrap tokens.
const TYPE: &str = "bootstrap.kubernetes.io/token";

fn secrets() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

/// What a token is for.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// The only node that may use it; `None` for any.
    pub node: Option<DnsName>,
    /// How long it is valid.
    pub ttl: Duration,
    /// Whether several machines may use it.
    pub reusable: bool,
    /// Whether the machine becomes another control plane.
    pub control_plane: bool,
}

/// How long a token for a control plane is valid at most: the authorities are in the cluster for so long.
const LONGEST: Duration = Duration::from_hours(1);

/// Makes a token. The API server knows it afterwards. With one for another control plane, the cluster has a copy of its
/// authorities that only the token opens, until the token is used or expires.
pub fn create(current: &Current, purpose: &Purpose, progress: &Progress) -> Result<Token> {
    if purpose.control_plane && purpose.ttl > LONGEST {
        return Err(Error::new(
            Kind::Usage,
            "a token for a control plane is valid for an hour at most",
        )
        .expected("`--ttl 1h` or less")
        .hint("make it when the other machine is ready to join"));
    }
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
    let token = Token::new(endpoints(current, address), authority.key_digest())?;
    if !purpose.control_plane {
        register(&client, &token, purpose)?;
        return Ok(token);
    }
    if let Some(rotation) = pki::rotation(current.layout.config())? {
        return Err(Error::new(
            Kind::Busy,
            "the authorities of this cluster are being replaced",
        )
        .hint(format!("run `{}` first", rotation.next_command())));
    }
    let current = several::open(current, address, progress)?;
    let (token, key) = token.with_key()?;
    let sealed = Authorities::read(&current.layout)?.seal(&key, &token.id)?;
    // The API server may have been without etcd for a moment.
    let client = administrator(&current)?;
    let owner = register(&client, &token, purpose)?;
    let objects = copy_of_authorities(&token.id, &owner, &sealed);
    if let Some(complaint) = apply(&client, &objects)? {
        delete(&current, &token.id)?;
        return Err(Error::new(
            Kind::Failed,
            format!("the API server refuses the copy of the authorities: {complaint}"),
        ));
    }
    Ok(token)
}

/// The API servers of the cluster, this machine's first.
fn endpoints(current: &Current, own: Ipv4Addr) -> Vec<SocketAddrV4> {
    let mut all = vec![own];
    if current.config.machines.peer_address().is_some() {
        let known = known_members(&current.layout, &current.config);
        all.extend(known.into_iter().filter(|address| *address != own));
    }
    let port = current.config.machines.api_port.get();
    all.into_iter()
        .map(|address| SocketAddrV4::new(address, port))
        .collect()
}

/// Tells the API server of a token. Gives the secret that it has made of it. Right after etcd was restarted, it may need a moment.
fn register(client: &Client, token: &Token, purpose: &Purpose) -> Result<Value> {
    let expires = SystemTime::now() + purpose.ttl;
    let secret = secret(token, purpose.node.as_ref(), expires, purpose.reusable);
    let began = Instant::now();
    loop {
        match client.post(&secrets(), &secret.to_string()) {
            Ok(answer) if answer.status == 201 => return read_object(&answer.body),
            Ok(answer) if answer.status < 500 || began.elapsed() > PATIENCE => {
                return Err(refused(answer.status, &answer.body));
            }
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            _ => thread::sleep(INTERVAL),
        }
    }
}

/// How long the API server may take to find etcd again.
const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_secs(1);

/// The name of the secret with the authorities for a token, and of the role that lets its holder read it.
fn copy_name(id: &str) -> String {
    format!("u7s-authorities-{id}")
}

/// The encrypted authorities, and the permission for the holder of the token to read and remove them. The cluster removes all of
/// them when it removes the secret of the token, `owner`.
fn copy_of_authorities(id: &str, owner: &Value, sealed: &[u8]) -> Vec<Value> {
    let name = copy_name(id);
    let owners = json!([{
        "apiVersion": "v1",
        "kind": "Secret",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }]);
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "usernetes/authorities",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "data": { "sealed": BASE64.encode(sealed) },
    });
    let rules = json!([{
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [name],
        "verbs": ["get", "delete"],
    }]);
    let holder = json!([user(&format!("{TOKEN_USER}{id}"))]);
    let mut objects = vec![secret];
    objects.extend(role(NAMESPACE, &name, &rules, &holder));
    for object in &mut objects {
        object["metadata"]["ownerReferences"] = owners.clone();
    }
    objects
}

/// Reads the authorities that a token is for, with a client that has the token.
pub(crate) fn fetch_authorities(client: &Client, token: &Token) -> Result<Authorities> {
    let path = format!("{}/{}", secrets(), copy_name(&token.id));
    let found = super::object(client, &path)?;
    let sealed = found.as_ref().map(|secret| text(secret, "/data/sealed"));
    let sealed = sealed.and_then(|text| BASE64.decode(text).ok());
    match (sealed, token.read_key()) {
        (Some(sealed), Some(key)) => Authorities::open(&sealed, &key, &token.id, token.authority),
        _ => Err(Error::new(Kind::Failed, UNKNOWN_TOKEN)),
    }
}

/// Removes a token that was used, and the authorities that it was for. The cluster would do it later.
pub(crate) fn spent(client: &Client, token: &Token) -> Result<()> {
    for name in [
        copy_name(&token.id),
        format!("bootstrap-token-{}", token.id),
    ] {
        let answer = client.delete(&format!("{}/{name}", secrets()))?;
        if !matches!(answer.status, 200 | 404) {
            return Err(refused(answer.status, &answer.body));
        }
    }
    Ok(())
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
    fn only_the_holder_of_the_token_reads_the_authorities() {
        let owner = json!({ "metadata": { "name": "bootstrap-token-abcdef", "uid": "1-2" } });
        let objects = copy_of_authorities("abcdef", &owner, b"sealed");
        assert_eq!(objects.len(), 3);
        for object in &objects {
            assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "1-2");
            assert_eq!(object["metadata"]["name"], "u7s-authorities-abcdef");
        }
        let rule = &objects[1]["rules"][0];
        assert_eq!(rule["resourceNames"], json!(["u7s-authorities-abcdef"]));
        assert_eq!(rule["verbs"], json!(["get", "delete"]));
        assert_eq!(objects[2]["subjects"][0]["name"], "system:bootstrap:abcdef");
    }

    #[test]
    fn the_secret_of_a_token() {
        let token = Token {
            endpoints: vec!["192.0.2.7:6443".parse().unwrap()],
            authority: Sha256::of(b"key"),
            id: "abcdef".to_owned(),
            secret: "0123456789abcdef".to_owned(),
            key: None,
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
