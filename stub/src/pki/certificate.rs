//! A single certificate: reads it, checks it, or issues it.

use std::collections::BTreeSet;

use pem::{EncodeConfig, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SerialNumber,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::identity::{Leaf, Usage};
use super::key::Key;
use super::san::San;
use super::{DAY, RENEW_BEFORE};
use crate::error::{Error, Kind, Result};

/// Certificates become valid this many seconds before they are issued, because clocks differ.
const BACKDATED: i64 = 60 * 60;
/// How many seconds a leaf is valid, unless its authority expires earlier.
const LEAF_LIFETIME: i64 = 365 * DAY;
/// How many seconds an authority is valid.
const AUTHORITY_LIFETIME: i64 = 3650 * DAY;

/// The parts of a certificate that the project uses. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The text of the file. The other fields describe the first certificate in it.
    pub(super) pem: String,
    der: Vec<u8>,
    /// The subject, for people to read.
    pub(super) subject: String,
    /// The issuer, for people to read.
    pub(crate) issuer: String,
    subject_der: Vec<u8>,
    issuer_der: Vec<u8>,
    common_names: Vec<String>,
    organisations: Vec<String>,
    /// The public key, as DER `SubjectPublicKeyInfo`.
    pub(super) public_key: Vec<u8>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) sans: BTreeSet<San>,
    server: bool,
    client: bool,
    /// Whether it may sign certificates.
    pub(super) authority: bool,
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub(crate) fn parse(pem: &str) -> Result<Self> {
        let wrong = |found: String| {
            Error::new(Kind::Input, "cannot read this certificate")
                .expected("an X.509 certificate in PEM form")
                .found(found)
                .hint("restore the file from a backup, or move it away")
        };
        let block = Pem::iter_from_buffer(pem.as_bytes())
            .find(|block| block.as_ref().map_or(true, |b| b.label == "CERTIFICATE"))
            .ok_or_else(|| wrong("no `-----BEGIN CERTIFICATE-----`".to_owned()))?
            .map_err(|e| wrong(format!("damaged PEM: {e}")))?;
        let (_, x509) = parse_x509_certificate(&block.contents)
            .map_err(|e| wrong(format!("damaged DER: {e}")))?;
        if !ordinary(x509.subject()) {
            return Err(wrong(
                "a subject that is not made of single, plain attributes".to_owned(),
            ));
        }
        Self::of(&x509, pem).map_err(|e| wrong(format!("damaged extension: {e}")))
    }

    /// Reads all certificates of a PEM text, in their order. There is at least one.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>> {
        let blocks: Vec<_> = Pem::iter_from_buffer(text.as_bytes())
            .map_while(std::result::Result::ok)
            .filter(|block| block.label == "CERTIFICATE")
            .map(|block| pem_of(&block.contents))
            .collect();
        if blocks.len() < 2 {
            return Self::parse(text).map(|one| vec![one]);
        }
        blocks.iter().map(|pem| Self::parse(pem)).collect()
    }

    fn of(x509: &X509Certificate, pem: &str) -> Result<Self, x509_parser::error::X509Error> {
        let constraints = x509.basic_constraints()?;
        let usage = x509.key_usage()?;
        let extended = x509.extended_key_usage()?;
        let names = x509.subject_alternative_name()?;
        Ok(Self {
            pem: pem.to_owned(),
            der: x509.as_raw().to_vec(),
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            subject_der: x509.subject().as_raw().to_vec(),
            issuer_der: x509.issuer().as_raw().to_vec(),
            common_names: texts(x509.subject().iter_common_name()),
            organisations: texts(x509.subject().iter_organization()),
            public_key: x509.public_key().raw.to_vec(),
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
            sans: names
                .iter()
                .flat_map(|n| &n.value.general_names)
                .filter_map(San::of)
                .collect(),
            server: extended
                .as_ref()
                .is_some_and(|e| e.value.server_auth || e.value.any),
            client: extended
                .as_ref()
                .is_some_and(|e| e.value.client_auth || e.value.any),
            authority: constraints.is_some_and(|c| c.value.ca)
                && usage.is_none_or(|u| u.value.key_cert_sign()),
        })
    }

    /// Whether this authority has signed it: the issuer's name and the signature must match.
    pub(crate) fn issued_by(&self, authority: &Self) -> bool {
        let (Ok((_, this)), Ok((_, issuer))) = (
            parse_x509_certificate(&self.der),
            parse_x509_certificate(&authority.der),
        ) else {
            return false;
        };
        self.issuer_der == authority.subject_der
            && this.verify_signature(Some(issuer.public_key())).is_ok()
    }

    /// Whether both have the same subject and the same key. Then each of them verifies the certificates that the other has
    /// issued.
    pub(crate) fn same_holder(&self, other: &Self) -> bool {
        self.subject_der == other.subject_der && self.public_key == other.public_key
    }

    /// The name of the user that Kubernetes takes its holder for.
    pub(super) fn user(&self) -> Option<&str> {
        match self.common_names.as_slice() {
            [user] => Some(user),
            _ => None,
        }
    }

    /// The certificate as DER.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether its time is over.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        now > self.not_after
    }

    /// Whether it is valid at this time.
    pub(super) fn is_valid(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// The reason why its time of validity needs attention: not begun, over or nearly over. `None` if all is well.
    pub(super) fn time_fault(&self, now: i64) -> Option<String> {
        if now < self.not_before {
            Some(format!("is not valid before {}", rfc3339(self.not_before)))
        } else if self.has_expired(now) {
            Some(format!("expired on {}", rfc3339(self.not_after)))
        } else if self.not_after - now < RENEW_BEFORE {
            Some(format!("expires on {}", rfc3339(self.not_after)))
        } else {
            None
        }
    }

    /// The reason why it must be issued again. `None` if it is as it should be.
    pub(super) fn fault(&self, wanted: &Leaf, now: i64) -> Option<String> {
        if let Some(fault) = self.time_fault(now) {
            return Some(fault);
        }
        let organisations: Vec<_> = wanted.organisation.into_iter().collect();
        if self.common_names != [wanted.common_name.as_str()] || self.organisations != organisations
        {
            return Some(format!("was issued to `{}`", self.subject));
        }
        for (needed, present, name) in [
            (wanted.usage.server(), self.server, "servers"),
            (wanted.usage.client(), self.client, "clients"),
        ] {
            if needed && !present {
                return Some(format!("is not for {name}"));
            }
        }
        if wanted.chained && self.pem.matches("BEGIN CERTIFICATE").count() < 2 {
            return Some("lacks the certificate of its authority".to_owned());
        }
        let missing: Vec<String> = wanted
            .sans
            .difference(&self.sans)
            .map(San::to_string)
            .collect();
        (!missing.is_empty()).then(|| format!("lacks {}", missing.join(", ")))
    }

    /// Makes the self-signed certificate of an authority. It is valid for ten years and may sign only leaves.
    pub(super) fn authority(name: &str, key: &Key, now: i64) -> Result<Self> {
        let mut params = params(name, None, now, now + AUTHORITY_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params
            .self_signed(&key.pair)
            .map_err(|e| cannot(name, &e))?;
        Self::parse(&made.pem())
    }

    /// Issues a leaf for a key. It is valid for one year, but not longer than the authority.
    pub(super) fn issue(
        leaf: &Leaf,
        key: &Key,
        authority: &Self,
        signer: &Key,
        now: i64,
    ) -> Result<Self> {
        let file = leaf.credential.certificate().display().to_string();
        let end = (now + LEAF_LIFETIME).min(authority.not_after);
        let mut params = params(&leaf.common_name, leaf.organisation, now, end)?;
        params.subject_alt_names = leaf.sans.iter().map(San::to_rcgen).collect::<Result<_>>()?;
        // The library adds the key identifier only if this is set.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match leaf.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        let issuer = Issuer::from_ca_cert_der(&authority.der.as_slice().into(), &signer.pair)
            .map_err(|e| cannot(&file, &e))?;
        let made = params
            .signed_by(&key.pair, &issuer)
            .map_err(|e| cannot(&file, &e))?;
        let mut pem = made.pem();
        if leaf.chained {
            pem.push_str(&pem_of(&authority.der));
        }
        let made = Self::parse(&pem)?;
        // If another program made the authority, the library may not write its subject byte for byte as it is.
        if made.issued_by(authority) {
            Ok(made)
        } else {
            Err(cannot(
                &file,
                &format!(
                    "cannot repeat the subject `{}` of its authority",
                    authority.subject
                ),
            ))
        }
    }
}

/// One certificate as PEM.
pub(super) fn pem_of(der: &[u8]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), lines)
}

/// Whether rcgen can repeat a subject. Each part must be a single attribute with a valid object identifier, and printable
/// strings must not contain `?`. With any other subject rcgen panics: it reads the question mark, but cannot write it.
fn ordinary(subject: &X509Name) -> bool {
    subject.iter().all(|part| {
        let mut attributes = part.iter();
        let known_root = |a: &AttributeTypeAndValue| {
            a.attr_type()
                .iter()
                .and_then(|mut arcs| arcs.next())
                .is_some_and(|root| root <= 2)
        };
        let writable = |a: &AttributeTypeAndValue| {
            let value = a.attr_value();
            value.tag() != Tag::PrintableString || !value.as_bytes().contains(&b'?')
        };
        let one = |a: &AttributeTypeAndValue| known_root(a) && writable(a);
        attributes.next().is_some_and(one) && attributes.next().is_none()
    })
}

/// The parameters that all certificates have in common.
fn params(
    common_name: &str,
    organisation: Option<&str>,
    now: i64,
    end: i64,
) -> Result<CertificateParams> {
    let mut serial = [0_u8; 16];
    rustix::rand::getrandom(&mut serial, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)?;
    let date =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| cannot(common_name, &e));
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(now - BACKDATED)?;
    params.not_after = date(end)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn cannot(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        Kind::Failed,
        format!("cannot issue the certificate {what}: {why}"),
    )
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes
        .filter_map(|a| a.as_str().ok())
        .map(str::to_owned)
        .collect()
}

/// A time in UTC in the format of RFC 3339, for example `2027-06-01T12:00:00Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} seconds since 1970"))
}
