//! The certificates and keys of the cluster. They have the same names and places as in the shell-script Usernetes: the
//! directories `master/` and `node/` in the configuration directory.
//!
//! [`ensure`] makes missing files, renews certificates that are about to expire or lack a name, and leaves every other file
//! untouched. It checks all files before it changes any. [`fn@list`] lists the certificates. [`begin_rotation`] and what follows
//! replace the authorities. In the meantime, the file of an authority has two certificates, of which the first one's key is in
//! the file beside it.
//!
//! `master/` contains three authorities (`ca`, `etcd-ca`, `front-proxy-ca`), the certificates of the control plane and the
//! key pair for service accounts. `node/` contains only files that a worker needs, so neither the key of an authority nor
//! that of any certificate in `master/`. A certificate is `<name>.pem`, its key is `<name>-key.pem`. Service accounts
//! have no certificate, so `service-account.pem` is a public key. Every kubeconfig `<name>.kubeconfig` contains a
//! certificate from the same directory, and is written again whenever that changes.

mod certificate;
mod files;
mod given;
mod identity;
mod key;
mod list;
mod node;
mod plan;
mod rotation;
mod san;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::DnsName;
use crate::error::{Error, Kind, Result};
use crate::layout::Credential;
pub use crate::layout::{MASTER, NODE};
pub(crate) use certificate::Certificate;
pub use given::{Issued, check_node, issue_for_node, node_of};
pub use list::{CertInfo, Purpose, list};
pub use node::{
    Asked, Authority, NODE_USER, begins, belongs, has_expired, node_fault, node_key, node_request,
    read_request,
};
pub use rotation::{
    Goal, Rotation, Stage, Step, begin_rotation, end_rotation, end_was_interrupted, enter_stage,
    next_step, old_token_key, rotation, settle_stage,
};

/// The user as which the API server connects to kubelets.
pub const KUBELETS_CLIENT: &str = "kube-apiserver-kubelet-client";
/// The user name of the service that publishes ports. It has only the role that [`components::rbac`](crate::components::rbac)
/// gives it.
pub const PORT_PUBLISHER: &str = "usernetes:ports";

/// The user as which the approver of machines that join connects to the API server.
pub const NODE_APPROVER: &str = "u7s:node-approver";

/// The file that keeps two processes from changing the same certificates. It stays, and nobody else needs it.
pub(crate) const LOCK: &str = ".pki.lock";

/// One day in seconds.
const DAY: i64 = 24 * 60 * 60;
/// A certificate is renewed when it has fewer seconds left than this.
const RENEW_BEFORE: i64 = 30 * DAY;

/// The reasons for which a certificate that is in order is issued again.
pub(crate) const OTHER_ISSUER: &str = "was issued by an authority that is replaced";
pub(crate) const TO_BE_RENEWED: &str = "was to be renewed";

/// The files that say who is trusted.
const TRUST: [Credential; 5] = [
    Credential::ClusterAuthority,
    Credential::NodeAuthority,
    Credential::EtcdAuthority,
    Credential::FrontProxyAuthority,
    Credential::ServiceAccounts,
];

/// The names and addresses to make certificates and kubeconfigs for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name of the node in Kubernetes, usually the host's name.
    pub node_name: DnsName,
    /// The DNS domain of the cluster, usually `cluster.local`.
    pub cluster_domain: DnsName,
    /// The first address of the service network, at which pods reach the API server.
    pub service_ip: IpAddr,
    /// The address of `tap0` in RootlessKit's network, at which the API server, etcd and the kubelet are reached.
    pub child_ip: IpAddr,
    /// The address of the machine in a cluster that other machines can join; `None` in a cluster of one machine.
    pub address: Option<IpAddr>,
    /// Further names and addresses at which clients reach the API server, for example where its port is published.
    pub extra_sans: Vec<String>,
    /// The API server's port on the host's loopback address, for `admin-localhost.kubeconfig`.
    pub api_port: u16,
    /// The address at which services in the namespaces reach the API server, for their kubeconfigs.
    pub component_server: SocketAddr,
}

/// The changes that [`ensure`] made. Files are named relative to the configuration directory.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ensured {
    /// The files that were written, with the reasons.
    pub made: Vec<Made>,
    /// The files that were left as they were.
    pub kept: Vec<PathBuf>,
    /// Files and directories that other users could read before, and cannot read any more.
    pub tightened: Vec<PathBuf>,
}

impl Ensured {
    /// Whether an authority or the key of service accounts is new. Then services that already run do not trust new
    /// certificates or tokens.
    #[must_use]
    pub fn renews_trust(&self) -> bool {
        TRUST
            .iter()
            .any(|credential| self.has(&credential.certificate()))
    }

    /// Whether the API server's serving certificate is new.
    #[must_use]
    pub fn serves_api(&self) -> bool {
        self.has(&Credential::ApiServer.certificate())
    }

    /// How many certificates were issued. Those of authorities, and keys, do not count.
    #[must_use]
    pub fn certificates(&self) -> usize {
        let is_certificate = |made: &&Made| {
            let stem = made.file.file_stem().unwrap_or_default();
            made.file.extension().is_some_and(|e| e == "pem")
                && !stem.to_string_lossy().ends_with("-key")
                && !TRUST.iter().any(|trust| made.file == trust.certificate())
        };
        self.made.iter().filter(is_certificate).count()
    }

    /// Whether a certificate was issued because the one before it had expired.
    #[must_use]
    pub fn replaces_expired(&self, file: &Path) -> bool {
        let made = self.made.iter().find(|made| made.file == file);
        made.is_some_and(|made| made.expired)
    }

    /// Whether a file was written.
    #[must_use]
    pub fn has(&self, file: &Path) -> bool {
        self.made.iter().any(|made| made.file == file)
    }
}

/// A file that was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its path relative to the configuration directory.
    pub file: PathBuf,
    /// The fault that it had before, for example `was missing`.
    pub reason: String,
    /// Whether it is a certificate that had expired, so that servers refused its holder.
    pub expired: bool,
}

/// The existing certificates to issue again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renew {
    /// Those that expire within 30 days, lack a name, or were issued to another name or for another purpose.
    Due,
    /// All certificates except those of the authorities.
    All,
}

/// Completes the PKI in `config_dir`. Existing files that are in order stay as they are.
///
/// A renewed certificate keeps its key. An authority is never renewed, and only replaced by way of [`begin_rotation`]. While that
/// is under way, the files become what its stage wants. If the key of a certificate is missing,
/// the certificate is issued again with a new key. If the certificate of an authority is missing but its key exists, the
/// certificate is made again with that key, so certificates that it issued earlier stay valid.
///
/// Nothing is changed if the existing files contradict each other: if an authority has expired, is about to expire or lacks
/// a key that is needed, if a key belongs to another certificate, or if another authority issued a certificate.
///
/// Files are durable when the function returns. If it is killed at any point, all files are complete, and the next run
/// makes the rest. Needs no network. [`Kind::Busy`] if another process is changing the certificates.
pub fn ensure(
    config_dir: &Path,
    request: &Request,
    renew: Renew,
    now: SystemTime,
) -> Result<Ensured> {
    let leaves = identity::leaves(request)?;
    identity::check_addresses(request)?;
    let now = seconds(now)?;
    let _lock = files::lock(config_dir)?;
    let plan = plan::make(
        config_dir,
        &leaves,
        &identity::accesses(request),
        renew,
        now,
    )?;
    files::carry_out(config_dir, plan)
}

/// The changes that [`ensure`] would make to missing and due certificates, or the error it would return. Changes nothing.
pub fn check(config_dir: &Path, request: &Request, now: SystemTime) -> Result<Ensured> {
    let leaves = identity::leaves(request)?;
    identity::check_addresses(request)?;
    let accesses = identity::accesses(request);
    let plan = plan::make(config_dir, &leaves, &accesses, Renew::Due, seconds(now)?)?;
    Ok(plan.report)
}

/// A time in UTC in the format of RFC 3339, to the second.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    certificate::rfc3339(i64::try_from(seconds.as_secs()).unwrap_or(i64::MAX))
}

/// Seconds since 1970. Refuses a clock that was never set, because every new certificate would have expired as soon as the
/// clock is set.
fn seconds(now: SystemTime) -> Result<i64> {
    const YEAR_2025: i64 = 1_735_689_600;
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| i64::try_from(d.as_secs()).ok())
        .unwrap_or_default();
    if seconds < YEAR_2025 {
        return Err(Error::new(Kind::Host, "this machine's clock is wrong")
            .expected("a time after 2025-01-01")
            .found(certificate::rfc3339(seconds))
            .hint("set the clock, for example with `sudo timedatectl set-ntp true`"));
    }
    Ok(seconds)
}
