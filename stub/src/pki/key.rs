//! Private keys. New ones are ECDSA P-256; all formats that earlier set-ups wrote can be read.

use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::pem::Pem;

use crate::error::{Error, Kind, Result};

/// A private key and the PEM text of its file.
pub(super) struct Key {
    pub(super) pair: KeyPair,
    pub(super) pem: String,
}

impl Key {
    /// A new ECDSA P-256 key, as PKCS#8.
    pub(super) fn generate() -> Result<Self> {
        let pair = KeyPair::generate()
            .map_err(|e| Error::new(Kind::Failed, format!("cannot make a private key: {e}")))?;
        let pem = pair.serialize_pem();
        Ok(Self { pair, pem })
    }

    /// Reads the first private key of a PEM text. The library reads only PKCS#8. PKCS#1 (`RSA PRIVATE KEY`, written by
    /// cfssl) and SEC 1 (`EC PRIVATE KEY`, written by OpenSSL) are wrapped in PKCS#8 first.
    pub(super) fn parse(pem: String) -> Result<Self> {
        let mut label = "no private key".to_owned();
        for block in Pem::iter_from_buffer(pem.as_bytes()).map_while(Result::ok) {
            if !block.label.ends_with("PRIVATE KEY") {
                continue;
            }
            label = format!("`{}`", block.label);
            let pkcs8 = match block.label.as_str() {
                "PRIVATE KEY" => vec![block.contents],
                "RSA PRIVATE KEY" => vec![pkcs8(&[RSA, NULL], &block.contents)],
                "EC PRIVATE KEY" => [P256, P384]
                    .map(|curve| pkcs8(&[EC, curve], &block.contents))
                    .into(),
                _ => Vec::new(),
            };
            if let Some(pair) = pkcs8
                .into_iter()
                .find_map(|der| KeyPair::try_from(der).ok())
            {
                return Ok(Self { pair, pem });
            }
            break;
        }
        Err(Error::new(Kind::Input, "cannot use this private key")
            .expected("an unencrypted PEM private key: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits")
            .found(label)
            .hint("restore the file from a backup, or move it away"))
    }

    /// The public half as DER `SubjectPublicKeyInfo`, as it is in certificates.
    pub(super) fn public(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

// Complete DER elements from RFC 8017 appendix C, RFC 5480 section 2.1.1 and RFC 5208 section 5.
const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 0x04, 0, 0x22];
const NULL: &[u8] = &[5, 0];
const VERSION_0: &[u8] = &[2, 1, 0];
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 4;

/// Wraps the private key structure of an algorithm in a PKCS#8 `PrivateKeyInfo`.
fn pkcs8(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let algorithm = der(SEQUENCE, &algorithm.concat());
    let key = der(OCTET_STRING, key);
    der(SEQUENCE, &[VERSION_0, &algorithm, &key].concat())
}

/// One DER element: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|b| **b == 0).count()..];
    let mut element = vec![tag];
    match (significant, u8::try_from(significant.len())) {
        ([], _) => element.push(0),
        ([short @ 0..=0x7f], _) => element.push(*short),
        (long, count) => {
            element.push(0x80 | count.unwrap_or_default());
            element.extend(long);
        }
    }
    element.extend(content);
    element
}
