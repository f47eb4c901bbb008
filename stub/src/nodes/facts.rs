//! What each machine of a cluster says about itself to the others, as annotations of its own node: its release, its role, and
//! when the first of its certificates ends. Nobody else knows that.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::change;
use crate::api::Client;
use crate::cluster;
use crate::config::{Config, Cri};
use crate::error::Result;
use crate::host::Machine;
use crate::layout::{Kubeconfig, Layout};
use crate::pki::{self, CertInfo, Purpose};
use crate::process::say;
use crate::store::Store;

/// The names of the annotations.
pub(super) struct Annotations {
    /// The release.
    pub(super) release: &'static str,
    /// `control-plane` or `worker`.
    pub(super) role: &'static str,
    /// The end of the first certificate that ends, RFC 3339 in UTC.
    pub(super) certificates_end: &'static str,
}

/// See [`Annotations`].
pub(super) const FACTS: Annotations = Annotations {
    release: "usernetes/release",
    role: "usernetes/role",
    certificates_end: "usernetes/certificates-end",
};

/// How often the facts are looked at, and how often after a failure.
const INTERVAL: Duration = Duration::from_mins(1);
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// They are written again after this time although nothing has changed: the node may have been made anew.
const AGAIN: Duration = Duration::from_mins(30);

/// Keeps this machine's facts in its node, in a thread. The process must be in the network namespace.
pub(crate) fn keep_published(layout: &Layout, config: &Config) {
    // A machine without pods has no node.
    if config.cri == Cri::None {
        return;
    }
    let (layout, config) = (layout.clone(), config.clone());
    thread::spawn(move || {
        let (mut written, mut fault) = (None::<(Value, Instant)>, String::new());
        loop {
            let facts = facts(&layout, &config);
            let same = |(last, when): &(Value, Instant)| *last == facts && when.elapsed() < AGAIN;
            if written.as_ref().is_some_and(same) {
                thread::sleep(INTERVAL);
                continue;
            }
            match publish(&layout, &config, &facts) {
                Ok(()) => {
                    written = Some((facts, Instant::now()));
                    fault.clear();
                }
                Err(error) => {
                    let now = error.message().to_owned();
                    // Right after the start, the API server or the node is not there yet.
                    if now != fault {
                        say(format!(
                            "the node does not have this machine's facts yet: {now}"
                        ));
                    }
                    fault = now;
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
    });
}

/// The annotations of this machine.
fn facts(layout: &Layout, config: &Config) -> Value {
    let request = cluster::pki_request(config, &Machine::this());
    let certificates = pki::list(layout.config(), &request, SystemTime::now());
    json!({
        FACTS.release: release(layout),
        FACTS.role: config.machines.role.as_str(),
        FACTS.certificates_end: first_end(&certificates.unwrap_or_default()),
    })
}

/// The release of this program's generation; empty if it cannot be read.
fn release(layout: &Layout) -> String {
    let name = layout.generation().file_name().unwrap_or_default();
    let number = name.to_string_lossy().parse().ok();
    let generation = number.and_then(|n| Store::at(layout.data_dir()).generation(n).ok());
    generation.map_or_else(String::new, |g| g.manifest().release.to_string())
}

/// The end of the first of our certificates that ends, those of authorities aside. Such texts sort like the times they describe.
fn first_end(certificates: &[CertInfo]) -> Option<&str> {
    let ours = certificates
        .iter()
        .filter(|c| c.purpose.is_some_and(|p| p != Purpose::Authority) && !c.not_after.is_empty());
    ours.map(|c| c.not_after.as_str()).min()
}

/// Writes the annotations with the identity of the node, which may change its own object.
fn publish(layout: &Layout, config: &Config, facts: &Value) -> Result<()> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, config.machines.api_port.get()));
    let client = Client::new(server, layout, Kubeconfig::Kubelet)?;
    let patch = json!({ "metadata": { "annotations": facts } });
    let path = format!("/api/v1/nodes/{}", config.node_name);
    change(&client, &path, &patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_is_that_of_our_own_certificates() {
        let certificate = |purpose, not_after: &str| CertInfo {
            file: "a.pem".into(),
            purpose,
            subject: String::new(),
            issuer: String::new(),
            not_after: not_after.to_owned(),
            days_left: 0,
            sans: Vec::new(),
            problem: None,
        };
        let all = [
            certificate(Some(Purpose::Client), "2027-06-01T00:00:00Z"),
            certificate(Some(Purpose::Server), "2027-05-01T00:00:00Z"),
            certificate(Some(Purpose::Server), ""),
            certificate(Some(Purpose::Authority), "2027-01-01T00:00:00Z"),
            certificate(None, "2020-01-01T00:00:00Z"),
        ];
        assert_eq!(first_end(&all), Some("2027-05-01T00:00:00Z"));
        assert_eq!(first_end(&[]), None);
    }
}
