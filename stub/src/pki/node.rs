//! The identity of a worker: keys and requests that it makes itself, and certificates that the control plane gives it. Also reads
//! such requests.

use std::iter;
use std::net::IpAddr;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::certificate::{Certificate, pem_of};
use super::identity::NODES;
use super::key::Key;
use super::san::San;
use super::{RENEW_BEFORE, seconds};
use crate::config::DnsName;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};

/// The beginning of the name of every node's user.
pub const NODE_USER: &str = "system:node:";

/// The certificate of an authority that a server has sent, or all that a file has. While the cluster replaces its authority,
/// there are two: the one that issues certificates now, and the other.
#[derive(Debug, Clone)]
pub struct Authority {
    first: Certificate,
    others: Vec<Certificate>,
}

impl Authority {
    /// Reads it; `None` if it is not the certificate of an authority.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let first = Certificate::parse(&pem_of(der)).ok()?;
        first.authority.then_some(Self {
            first,
            others: Vec::new(),
        })
    }

    /// Reads all from the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = Certificate::parse_all(text)?.into_iter();
        let first = all.next().map_or_else(|| Certificate::parse(text), Ok)?;
        Ok(Self {
            first,
            others: all.collect(),
        })
    }

    /// Reads all from a file. The error names it.
    pub fn of_file(file: &Path) -> Result<Self> {
        Self::parse(&fs_err::read_to_string(file)?).about(|| file.display())
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        iter::once(&self.first).chain(&self.others)
    }

    /// Whether both have an authority in common.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        let known = |one: &Certificate| other.all().any(|two| one.same_holder(two));
        self.all().any(known)
    }

    /// Whether there is more than one.
    #[must_use]
    pub fn is_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// The digest of the public key (DER `SubjectPublicKeyInfo`) of the first.
    #[must_use]
    pub fn key_digest(&self) -> Sha256 {
        Sha256::of(&self.first.public_key)
    }

    /// The one among them that has issued a certificate; `None` if none has.
    #[must_use]
    pub fn issuer_of(&self, certificate: &str) -> Option<Self> {
        let certificate = Certificate::parse(certificate).ok()?;
        let issuer = self.all().find(|one| certificate.issued_by(one))?;
        Some(Self {
            first: issuer.clone(),
            others: Vec::new(),
        })
    }

    /// Whether the first has issued a certificate.
    #[must_use]
    pub fn issues(&self, certificate: &str) -> bool {
        Certificate::parse(certificate).is_ok_and(|c| c.issued_by(&self.first))
    }

    /// The first certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.first.der()
    }

    /// The first certificate as PEM.
    #[must_use]
    pub fn first_pem(&self) -> String {
        pem_of(self.der())
    }

    /// All certificates as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.all().map(|one| pem_of(one.der())).collect()
    }
}

/// When a certificate in DER begins to be valid, in seconds since 1970.
#[must_use]
pub fn begins(der: &[u8]) -> Option<u64> {
    let (_, x509) = x509_parser::parse_x509_certificate(der).ok()?;
    u64::try_from(x509.validity().not_before.timestamp()).ok()
}

/// A new private key, or an existing one, as PEM.
pub fn node_key(existing: Option<String>) -> Result<String> {
    match existing {
        Some(text) => Key::parse(text).map(|key| key.pem),
        None => Key::generate().map(|key| key.pem),
    }
}

/// A request for the client certificate of a node, or, with an address, for its serving certificate. Gives PEM.
pub fn node_request(key: &str, node: &DnsName, address: Option<IpAddr>) -> Result<String> {
    let key = Key::parse(key.to_owned())?;
    let cannot = |error: &dyn std::fmt::Display| {
        Error::new(
            Kind::Failed,
            format!("cannot request a certificate: {error}"),
        )
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, NODES);
    let user = format!("{NODE_USER}{node}");
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(address) = address {
        let names = names(node, address);
        params.subject_alt_names = names.iter().map(San::to_rcgen).collect::<Result<_>>()?;
    }
    let request = params
        .serialize_request(&key.pair)
        .map_err(|e| cannot(&e))?;
    request.pem().map_err(|e| cannot(&e))
}

/// The names at which the kubelet of a worker is reached.
pub(super) fn names(node: &DnsName, address: IpAddr) -> [San; 2] {
    [San::Dns(node.to_string()), San::Ip(address)]
}

/// What a request for a certificate asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The common names of the subject.
    pub common_names: Vec<String>,
    /// The organisations of the subject.
    pub organisations: Vec<String>,
    /// The host names that the certificate is to be valid for.
    pub names: Vec<String>,
    /// The addresses that the certificate is to be valid for.
    pub addresses: Vec<IpAddr>,
    /// Whether it asks for anything else.
    pub more: bool,
}

/// Reads a request in PEM; `None` if it is none.
#[must_use]
pub fn read_request(text: &str) -> Option<Asked> {
    let block = Pem::iter_from_buffer(text.as_bytes()).next()?.ok()?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents).ok()?;
    let info = &request.certification_request_info;
    let texts = |attributes: Vec<Option<&str>>| -> Vec<String> {
        let texts = attributes.into_iter();
        texts.map(|t| t.unwrap_or_default().to_owned()).collect()
    };
    let subject = &info.subject;
    let mut asked = Asked {
        common_names: texts(
            subject
                .iter_common_name()
                .map(|a| a.as_str().ok())
                .collect(),
        ),
        organisations: texts(
            subject
                .iter_organization()
                .map(|a| a.as_str().ok())
                .collect(),
        ),
        ..Asked::default()
    };
    asked.more =
        subject.iter_attributes().count() != asked.common_names.len() + asked.organisations.len();
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else {
            // The signers of Kubernetes take no other extension from a request.
            continue;
        };
        for name in &names.general_names {
            match San::of(name) {
                Some(San::Dns(name)) => asked.names.push(name),
                Some(San::Ip(address)) => asked.addresses.push(address),
                None => asked.more = true,
            }
        }
    }
    Some(asked)
}

/// Why a node's certificate must be requested again; `None` if it is in order. `wanted` are an address and a name that it must
/// be valid for, if it is the serving certificate.
pub fn node_fault(
    certificate: Option<&str>,
    wanted: Option<(&DnsName, IpAddr)>,
    now: std::time::SystemTime,
) -> Result<Option<String>> {
    let Some(text) = certificate else {
        return Ok(Some("is missing".to_owned()));
    };
    let certificate = Certificate::parse(text)?;
    let now = seconds(now)?;
    // A cluster may give certificates for a shorter time than ours.
    let lifetime = certificate.not_after - certificate.not_before;
    let early = RENEW_BEFORE.min(lifetime / 3);
    if now > certificate.not_after - early {
        return Ok(certificate
            .time_fault(now)
            .or_else(|| Some("expires soon".to_owned())));
    }
    let lacking = wanted.into_iter().flat_map(|(name, address)| {
        names(name, address)
            .into_iter()
            .filter(|san| !certificate.sans.contains(san))
            .map(|san| format!("lacks {san}"))
    });
    Ok(lacking.into_iter().next())
}

/// Whether a certificate belongs to a key and was issued by one of the authorities.
#[must_use]
pub fn belongs(certificate: &str, key: &str, authority: &Authority) -> bool {
    let (Ok(certificate), Ok(key)) = (Certificate::parse(certificate), Key::parse(key.to_owned()))
    else {
        return false;
    };
    certificate.public_key == key.public() && authority.all().any(|one| certificate.issued_by(one))
}

/// Whether its time is over.
pub fn has_expired(certificate: &str, now: std::time::SystemTime) -> Result<bool> {
    Ok(Certificate::parse(certificate)?.has_expired(seconds(now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> DnsName {
        DnsName::new("b").unwrap()
    }

    #[test]
    fn a_request_says_what_it_asks_for() {
        let key = node_key(None).unwrap();
        assert_eq!(node_key(Some(key.clone())).unwrap(), key);
        let client = read_request(&node_request(&key, &name(), None).unwrap()).unwrap();
        let expected = Asked {
            common_names: vec!["system:node:b".to_owned()],
            organisations: vec!["system:nodes".to_owned()],
            ..Asked::default()
        };
        assert_eq!(client, expected);
        let address = "192.0.2.7".parse().unwrap();
        let serving = node_request(&key, &name(), Some(address)).unwrap();
        let expected = Asked {
            names: vec!["b".to_owned()],
            addresses: vec![address],
            ..expected
        };
        assert_eq!(read_request(&serving).unwrap(), expected);
        assert_eq!(read_request("nothing"), None);
        assert_eq!(read_request(&key), None);
    }

    #[test]
    fn a_missing_certificate_is_due() {
        let now = std::time::SystemTime::now();
        let fault = node_fault(None, None, now).unwrap();
        assert_eq!(fault.as_deref(), Some("is missing"));
        assert!(node_fault(Some("x"), None, now).is_err());
    }
}
