//! The identities of workers where they are not requested by the workers themselves: they are issued in the place where the key
//! of the authority is, and checked in the place that they were carried to.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use super::certificate::{Certificate, rfc3339};
use super::identity::node_leaves;
use super::key::Key;
use super::node::{Authority, NODE_USER, belongs, names};
use super::{files, seconds};
use crate::config::DnsName;
use crate::error::{Error, Kind, Result};
use crate::layout::Credential;

/// A new certificate and its new key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// What it is.
    pub credential: Credential,
    /// The private key.
    pub key: String,
    /// The certificate.
    pub certificate: String,
}

/// Issues both certificates of a worker with the cluster authority in `config_dir`, where [`ensure`](super::ensure) has made
/// one. They are as those that the cluster issues for a worker that joins. Writes nothing.
pub fn issue_for_node(
    config_dir: &Path,
    node: &DnsName,
    address: IpAddr,
    now: SystemTime,
) -> Result<Vec<Issued>> {
    let now = seconds(now)?;
    let authority = Certificate::parse(&need(
        config_dir,
        &Credential::ClusterAuthority.certificate(),
    )?)?;
    let signer = Key::parse(need(config_dir, &Credential::ClusterAuthority.key())?)?;
    let names = names(node, address).into_iter().collect();
    let leaves = node_leaves(node.as_str(), &names).into_iter();
    let issued = leaves.map(|leaf| {
        let key = Key::generate()?;
        let certificate = Certificate::issue(&leaf, &key, &authority, &signer, now)?;
        Ok(Issued {
            credential: leaf.credential,
            key: key.pem,
            certificate: certificate.pem,
        })
    });
    issued.collect()
}

/// The name of the node whose client certificate this is.
pub fn node_of(certificate: &str) -> Result<DnsName> {
    let certificate = Certificate::parse(certificate)?;
    let user = certificate.user();
    let node = user.and_then(|user| user.strip_prefix(NODE_USER));
    node.and_then(|node| DnsName::new(node).ok())
        .ok_or_else(|| {
            Error::new(Kind::Input, "this is not the certificate of a node")
                .expected(format!("a certificate for `{NODE_USER}NAME`"))
                .found(format!("a certificate issued to `{}`", certificate.subject))
        })
}

/// Fails unless `config_dir` has all that the worker with this name needs: two certificates that are valid now, each with its
/// key, and the certificate of the authority that has issued them. An error names the file.
pub fn check_node(config_dir: &Path, node: &DnsName, now: SystemTime) -> Result<()> {
    let now = seconds(now)?;
    let file = Credential::NodeAuthority.certificate();
    let authority = Authority::parse(&need(config_dir, &file)?);
    let authority = authority.map_err(|error| error.about(config_dir.join(&file).display()))?;
    for credential in [Credential::KubeletClient, Credential::Kubelet] {
        let text = need(config_dir, &credential.certificate())?;
        let key = need(config_dir, &credential.key())?;
        let file = config_dir.join(credential.certificate());
        check(&text, &key, &authority, node, now).map_err(|error| error.about(file.display()))?;
    }
    Ok(())
}

fn check(text: &str, key: &str, authority: &Authority, node: &DnsName, now: i64) -> Result<()> {
    let certificate = Certificate::parse(text)?;
    let name = node_of(text)?;
    if name != *node {
        return Err(
            Error::new(Kind::Input, "this is the certificate of another node")
                .expected(format!("that of `{node}`"))
                .found(format!("that of `{name}`")),
        );
    }
    if !belongs(text, key, authority) {
        return Err(Error::new(
            Kind::Input,
            "this certificate does not belong to the key or to the authority beside it",
        ));
    }
    if !certificate.is_valid(now) {
        let fault = certificate.time_fault(now).unwrap_or_default();
        return Err(Error::new(Kind::Input, format!("this certificate {fault}"))
            .detail("now", rfc3339(now)));
    }
    Ok(())
}

/// The text of a file that must be there.
fn need(config_dir: &Path, file: &Path) -> Result<String> {
    let file = config_dir.join(file);
    let missing = || Error::new(Kind::Input, format!("{}: no such file", file.display()));
    files::read(&file)?.ok_or_else(missing)
}
