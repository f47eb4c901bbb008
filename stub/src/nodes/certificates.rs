//! Asks the cluster for a certificate, and waits for it.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{read_object, refused, text};
use crate::api::Client;
use crate::components::joining::{CLIENT_SIGNER, REMOVED, SERVING_SIGNER};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

/// Where requests for certificates are at the API server.
pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// The approver looks every few seconds, and the controller manager signs at once.
const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(700);

/// How long an API server may go by a policy that is deleted already. It follows changes within seconds.
const STALE: Duration = Duration::from_secs(30);

/// The kinds of certificates of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// For its connections to the API server.
    Client,
    /// For connections to its kubelet.
    Serving,
}

impl Wanted {
    /// Who signs it.
    pub(super) fn signer(self) -> &'static str {
        match self {
            Self::Client => CLIENT_SIGNER,
            Self::Serving => SERVING_SIGNER,
        }
    }

    /// What it is for. Our keys are for signatures only, so `key encipherment` is not among them.
    fn usages(self) -> [&'static str; 2] {
        match self {
            Self::Client => ["digital signature", "client auth"],
            Self::Serving => ["digital signature", "server auth"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Serving => "serving",
        }
    }
}

/// Asks for the certificate of a request in PEM, and waits until the cluster has decided. Gives the certificate in PEM. An error
/// has the approver's reason.
pub(crate) fn request(client: &Client, node: &str, wanted: Wanted, pem: &str) -> Result<String> {
    let digest = Sha256::of(pem.as_bytes()).short(10);
    let name = format!("u7s-{node}-{}-{digest}", wanted.name());
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": BASE64.encode(pem),
            "signerName": wanted.signer(),
            "usages": wanted.usages(),
        },
    });
    let began = Instant::now();
    loop {
        let answer = client.post(REQUESTS, &object.to_string())?;
        match answer.status {
            201 | 409 => break,
            _ if still_kept_out(&answer.body, node) && began.elapsed() < STALE => {
                thread::sleep(INTERVAL);
            }
            status => return Err(refused(status, &answer.body)),
        }
    }
    loop {
        let answer = client.get(&format!("{REQUESTS}/{name}"))?;
        if answer.status == 200
            && let Some(certificate) = outcome(&read_object(&answer.body)?)?
        {
            return Ok(certificate);
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::new(
                Kind::Failed,
                format!("the cluster does not decide about the request `{name}`"),
            )
            .detail("waited", format!("{} s", PATIENCE.as_secs()))
            .hint("on the machine with the control plane, see `usernetes logs node-approver` and `usernetes logs kube-controller-manager`"));
        }
        thread::sleep(INTERVAL);
    }
}

/// Whether a request was refused because the node was removed. A node that joins again has been let back before it asks, but
/// an API server learns that a moment later.
fn still_kept_out(body: &str, node: &str) -> bool {
    body.contains(&format!("'{REMOVED}{node}'"))
}

/// The certificate, if it was issued; nothing if that is not decided yet.
fn outcome(request: &Value) -> Result<Option<String>> {
    let certificate = text(request, "/status/certificate");
    if !certificate.is_empty() {
        let pem = BASE64.decode(certificate).ok();
        let pem = pem.and_then(|bytes| String::from_utf8(bytes).ok());
        return pem.map(Some).ok_or_else(|| {
            Error::new(Kind::Failed, "the cluster has issued a damaged certificate")
        });
    }
    let conditions = request["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let refusal = conditions.find(|c| c["type"] == "Denied" || c["type"] == "Failed");
    match refusal {
        Some(condition) => Err(Error::new(
            Kind::Failed,
            text(condition, "/message").to_owned(),
        )),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_a_removed_node_is_known() {
        let body = r#"{"message":"\"u7s-b-serving-0\" is forbidden: ValidatingAdmissionPolicy 'u7s-removed-b' with binding 'u7s-removed-b' denied request"}"#;
        assert!(still_kept_out(body, "b"));
        assert!(!still_kept_out(body, "c"));
    }

    #[test]
    fn what_the_cluster_has_decided() {
        assert_eq!(outcome(&json!({})).unwrap(), None);
        let approved = json!({ "status": { "conditions": [{ "type": "Approved" }] } });
        assert_eq!(outcome(&approved).unwrap(), None);
        let issued = json!({ "status": { "certificate": BASE64.encode("pem") } });
        assert_eq!(outcome(&issued).unwrap().as_deref(), Some("pem"));
        let denied = json!({ "status": { "conditions": [{ "type": "Denied", "message": "no" }] } });
        assert_eq!(outcome(&denied).unwrap_err().message(), "no");
    }
}
