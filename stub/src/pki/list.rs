//! Lists the certificates that exist, and their faults.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use x509_parser::pem::Pem;

use super::certificate::{Certificate, rfc3339};
use super::identity::{self, Authority, Leaf, Usage};
use super::key::Key;
use super::{DAY, MASTER, NODE, Request, files, seconds};
use crate::error::Result;
use crate::layout::Credential;

/// The purpose of one of our certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// It issues other certificates. It is never renewed.
    Authority,
    /// A server proves its identity to clients with it.
    Server,
    /// A client proves its identity to servers with it.
    Client,
    /// It is for a server and for a client.
    ServerAndClient,
}

impl Purpose {
    /// The purpose in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Server => "server",
            Self::Client => "client",
            Self::ServerAndClient => "server and client",
        }
    }
}

/// One certificate file, for `certs list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertInfo {
    /// Its path relative to the configuration directory, for example `master/etcd.pem`.
    pub file: PathBuf,
    /// Its purpose; `None` for a certificate that is not part of this PKI, for example one of the shell scripts'.
    pub purpose: Option<Purpose>,
    /// The name of its holder; empty if the file cannot be read.
    pub subject: String,
    /// The name of its issuer; empty if the file cannot be read.
    pub issuer: String,
    /// The last instant of its validity, RFC 3339 in UTC; empty if the file cannot be read.
    pub not_after: String,
    /// Whole days until it expires; negative once it has expired.
    pub days_left: i64,
    /// The names and addresses that it is valid for.
    pub sans: Vec<String>,
    /// Its fault, if it has one.
    pub problem: Option<String>,
}

/// Every certificate in `master/` and `node/`, sorted by name; none if there is no PKI. Public keys of service accounts are
/// left out, because they are not certificates. A file that cannot be read becomes an entry with a problem.
pub fn list(config_dir: &Path, request: &Request, now: SystemTime) -> Result<Vec<CertInfo>> {
    let now = seconds(now)?;
    let leaves = identity::leaves(request)?;
    let mut found = Vec::new();
    for dir in [MASTER, NODE] {
        for file in pem_files(&config_dir.join(dir))? {
            let certificate = match files::read(&file) {
                Ok(Some(text)) if is_bare_key(&text) => continue,
                Ok(text) => Certificate::parse(&text.unwrap_or_default()),
                Err(error) => Err(error),
            };
            found.push((file, certificate));
        }
    }
    let authorities: Vec<Certificate> = found
        .iter()
        .filter_map(|(_, c)| c.as_ref().ok())
        .filter(|c| c.authority)
        .flat_map(|c| Certificate::parse_all(&c.pem).unwrap_or_default())
        .collect();
    Ok(found
        .iter()
        .map(|(file, certificate)| {
            let relative = file.strip_prefix(config_dir).unwrap_or(file).to_owned();
            match certificate {
                Ok(certificate) => CertInfo {
                    purpose: purpose(&relative, &leaves),
                    file: relative,
                    subject: certificate.subject.clone(),
                    issuer: certificate.issuer.clone(),
                    not_after: rfc3339(certificate.not_after),
                    days_left: (certificate.not_after - now).div_euclid(DAY),
                    sans: certificate.sans.iter().map(ToString::to_string).collect(),
                    problem: problem(file, certificate, &authorities, now),
                },
                Err(error) => CertInfo {
                    purpose: purpose(&relative, &leaves),
                    file: relative,
                    subject: String::new(),
                    issuer: String::new(),
                    not_after: String::new(),
                    days_left: 0,
                    sans: Vec::new(),
                    problem: Some(error.message().to_owned()),
                },
            }
        })
        .collect())
}

/// The purpose of the file with this name; `None` if this PKI has no such file.
fn purpose(file: &Path, leaves: &[Leaf]) -> Option<Purpose> {
    let is = |credential: Credential| file == credential.certificate();
    let mut authorities = Authority::ALL.iter().map(|a| a.credential());
    if authorities.any(is) || is(Credential::NodeAuthority) {
        return Some(Purpose::Authority);
    }
    let leaf = leaves.iter().find(|leaf| is(leaf.credential))?;
    Some(match leaf.usage {
        Usage::Server => Purpose::Server,
        Usage::Client => Purpose::Client,
        Usage::Both => Purpose::ServerAndClient,
    })
}

/// All `*.pem` files except private keys, sorted. There are none if the directory does not exist.
fn pem_files(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let pem = path.extension().is_some_and(|e| e == "pem");
        if pem && !stem.starts_with('.') && !stem.ends_with("-key") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_bare_key(text: &str) -> bool {
    Pem::iter_from_buffer(text.as_bytes())
        .next()
        .and_then(Result::ok)
        .is_some_and(|block| block.label.ends_with("PUBLIC KEY"))
}

/// The first fault of a certificate: its time, its issuer, then its key. An authority may lack its key, because a node has
/// only the certificate.
fn problem(
    file: &Path,
    certificate: &Certificate,
    authorities: &[Certificate],
    now: i64,
) -> Option<String> {
    if let Some(fault) = certificate.time_fault(now) {
        return Some(fault);
    }
    if !authorities
        .iter()
        .any(|authority| certificate.issued_by(authority))
    {
        return Some("was not issued by an authority in this directory".to_owned());
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let key_file = file.with_file_name(format!("{stem}-key.pem"));
    match files::read(&key_file) {
        Ok(None) if certificate.authority => None,
        Ok(None) => Some("has no key".to_owned()),
        Err(error) => Some(error.message().to_owned()),
        Ok(Some(pem)) => match Key::parse(pem) {
            Err(error) => Some(format!("its key: {}", error.message())),
            Ok(key) if key.public() != certificate.public_key => {
                Some("does not belong to its key".to_owned())
            }
            Ok(_) => None,
        },
    }
}
