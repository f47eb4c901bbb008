//! Renews certificates before anything starts.

use std::time::SystemTime;

use crate::cluster;
use crate::config::Config;
use crate::host::Machine;
use crate::layout::{Credential, Layout};
use crate::pki::{self, Renew};
use crate::process::say;

/// Renews the certificates that are due. After a long time without power all of them may have expired; the services would
/// then refuse each other. If one cannot be renewed, this says so, and the cluster starts with the certificates that it has.
///
/// RootlessKit's launcher calls this, because every other service starts after it.
pub(super) fn renew_due(layout: &Layout, config: &Config) {
    // Only a machine with a control plane can issue certificates.
    if !layout.certificate(Credential::ClusterAuthority).exists() {
        return;
    }
    let request = cluster::pki_request(config, &Machine::this());
    match pki::ensure(layout.config(), &request, Renew::Due, SystemTime::now()) {
        Ok(ensured) => {
            for made in ensured.made {
                let file = made.file.display();
                say(format!("made {file} anew: it {}", made.reason));
            }
        }
        Err(error) => say(format!("cannot renew certificates: {error}")),
    }
}
