//! Certificates and keys of the cluster, in the layout of the shell-script Usernetes: `master/` and `node/` below the
//! configuration directory.
//!
//! [`ensure`] makes what is missing, renews what is about to expire or lacks a name, and keeps everything else byte
//! for byte. It judges all that is there before it changes anything. [`fn@list`] tells what there is.
//!
//! `master/` holds three authorities (`ca`, `etcd-ca`, `front-proxy-ca`), the certificates of the control plane and the
//! service account key pair; `node/` only what a worker needs: never the key of an authority or of a master's
//! certificate. A certificate is `<name>.pem` with the key `<name>-key.pem`; service accounts have no certificate, so
//! `service-account.pem` is a bare public key.
//! Every kubeconfig `<name>.kubeconfig` carries copies of a certificate beside it and is rewritten with it.

mod certificate;
mod files;
mod identity;
mod key;
mod list;
mod plan;
mod san;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::DnsName;
use crate::error::{Error, Kind, Result};
pub use crate::layout::{MASTER, NODE};
pub(crate) use certificate::{Certificate, rfc3339};
pub use list::{CertInfo, Purpose, list};

/// One day in seconds.
const DAY: i64 = 24 * 60 * 60;
/// A certificate with fewer seconds left is renewed.
const RENEW_BEFORE: i64 = 30 * DAY;

/// What the certificates are to be made for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the node in Kubernetes. Usually the host's own.
    pub node_name: DnsName,
    /// DNS domain of the cluster, usually `cluster.local`.
    pub cluster_domain: DnsName,
    /// First address of the service network, where pods find the API server.
    pub service_ip: IpAddr,
    /// Address of the RootlessKit child (`tap0`), where the API server, etcd and the kubelet are reached.
    pub child_ip: IpAddr,
    /// More names and addresses under which clients reach the API server, for example where it is published.
    pub extra_sans: Vec<String>,
    /// Port of the API server on the host's loopback, for `admin-localhost.kubeconfig`.
    pub api_port: u16,
    /// Where components inside the namespaces reach the API server, for their kubeconfigs.
    pub component_server: SocketAddr,
}

/// What [`ensure`] did. Files are named relative to the configuration directory.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files written, with the reason.
    pub made: Vec<Made>,
    /// Files left as they were.
    pub kept: Vec<PathBuf>,
    /// Files and directories that others could read, and no longer can.
    pub tightened: Vec<PathBuf>,
}

impl Report {
    /// Whether an authority or the key of service accounts is new: then nothing that runs trusts what comes after it.
    #[must_use]
    pub fn renews_trust(&self) -> bool {
        let stems = [
            "ca.pem",
            "etcd-ca.pem",
            "front-proxy-ca.pem",
            "service-account.pem",
        ];
        self.made
            .iter()
            .any(|made| stems.iter().any(|stem| made.file.ends_with(stem)))
    }

    /// Whether the API server's serving certificate is new.
    #[must_use]
    pub fn serves_api(&self) -> bool {
        self.made
            .iter()
            .any(|made| made.file == Path::new(MASTER).join("kube-apiserver.pem"))
    }
}

/// A file that was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Relative to the configuration directory.
    pub file: PathBuf,
    /// What was wrong before, for example `was missing`.
    pub reason: String,
}

/// Which certificates to issue anew although they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renew {
    /// Those that end within 30 days, lack a name, or were issued to another name or for another use.
    Due,
    /// All except those of the authorities.
    All,
}

/// Makes the PKI below `config_dir` complete. What is already there and good stays as it is.
///
/// A renewed certificate keeps its key. An authority is never renewed or replaced. A certificate whose key is lost gets
/// a new key and is issued anew; so does an authority's certificate whose key is there, which changes nothing for what
/// it issued. Nothing is changed if anything there does not fit together: an authority that is expired, about to expire
/// or without the key that is needed, a key that belongs to another certificate, a certificate of a foreign authority.
///
/// Files are durable when the function returns. Killed at any instant, it leaves complete files only, and the next
/// run completes the rest. Needs no network. [`Kind::Busy`] if another process is at the same.
pub fn ensure(
    config_dir: &Path,
    request: &Request,
    renew: Renew,
    now: SystemTime,
) -> Result<Report> {
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

/// What [`ensure`] would do about certificates that are missing or due, and whether it would refuse. Changes nothing.
pub fn check(config_dir: &Path, request: &Request, now: SystemTime) -> Result<Report> {
    let leaves = identity::leaves(request)?;
    identity::check_addresses(request)?;
    let accesses = identity::accesses(request);
    let plan = plan::make(config_dir, &leaves, &accesses, Renew::Due, seconds(now)?)?;
    Ok(plan.report)
}

/// Seconds since 1970. Refuses a clock that was never set: everything it stamps would be expired once it is.
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
