//! Trust in a server whose authority is known only by the digest of its public key, as a token has it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::digest::Sha256;
use crate::pki::Authority;

/// Accepts only servers with a certificate of one authority, whose certificate they must send as well.
#[derive(Debug)]
pub(crate) struct Pinned {
    wanted: Sha256,
    provider: Arc<CryptoProvider>,
    /// The authority, once a server has sent its certificate.
    authority: OnceLock<Authority>,
    /// The digest of another authority that a server has sent.
    other: OnceLock<Sha256>,
    /// Whether a certificate is accepted although it is not valid yet, or no longer.
    timeless: bool,
    /// Set if a server was refused only because of the time.
    out_of_time: OnceLock<()>,
}

/// Trusts the authority whose public key has this digest.
pub(crate) fn pin(wanted: Sha256) -> Arc<Pinned> {
    Arc::new(Pinned::new(wanted, false))
}

impl Pinned {
    fn new(wanted: Sha256, timeless: bool) -> Self {
        Self {
            wanted,
            provider: Arc::new(ring::default_provider()),
            authority: OnceLock::new(),
            other: OnceLock::new(),
            timeless,
            out_of_time: OnceLock::new(),
        }
    }

    /// Trusts the same authority at any time, whatever this machine's clock says. No secret may be sent to a server that is
    /// trusted only so.
    pub(crate) fn timeless(&self) -> Arc<Self> {
        Arc::new(Self::new(self.wanted, true))
    }

    /// Whether a server was refused only because its certificate is not valid yet, or no longer.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.out_of_time.get().is_some()
    }

    /// The authority, if a server has proved that it has a certificate of it.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.get()
    }

    /// The digest that the authority's key must have.
    pub(crate) fn wanted(&self) -> Sha256 {
        self.wanted
    }

    /// The digest of the key of another authority, if a server has sent one.
    pub(crate) fn other(&self) -> Option<Sha256> {
        self.other.get().copied()
    }
}

/// Why a server is refused.
#[derive(Debug)]
struct AnotherAuthority;

impl std::fmt::Display for AnotherAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it has no certificate of the expected authority")
    }
}

impl std::error::Error for AnotherAuthority {}

/// Whether a certificate is refused only because it is not valid yet, or no longer.
fn is_about_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
    )
}

/// When a certificate begins to be valid. Its authority is valid then, too.
fn authority_time(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let begin = crate::pki::begins(certificate)?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(begin)))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authorities = intermediates.iter().filter_map(|der| Authority::read(der));
        let mut found = None;
        for authority in authorities {
            if authority.key_digest() == self.wanted {
                found = Some(authority);
            } else {
                let _ = self.other.set(authority.key_digest());
            }
        }
        let Some(authority) = found else {
            let why = CertificateError::Other(OtherError(Arc::new(AnotherAuthority)));
            return Err(why.into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der().to_vec()))?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        // The root itself does not belong to the chain.
        let verify =
            |now| verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now);
        let verified = match verify(now) {
            Err(rustls::Error::InvalidCertificate(error)) if is_about_time(&error) => {
                let _ = self.out_of_time.set(());
                let begin = authority_time(end_entity).filter(|_| self.timeless);
                verify(begin.ok_or(error)?)?
            }
            verified => verified?,
        };
        let _ = self.authority.set(authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;
    use std::thread;
    use std::time::SystemTime;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;
    use crate::api::Client;
    use crate::layout::Credential;
    use crate::pki::{self, Renew, Request};

    /// A cluster's certificates, made at this time.
    fn cluster(dir: &Path, address: bool, now: SystemTime) -> Authority {
        let request = Request {
            node_name: "a".parse().unwrap(),
            cluster_domain: "cluster.local".parse().unwrap(),
            service_ip: [10, 0, 0, 1].into(),
            child_ip: [10, 0, 42, 100].into(),
            address: address.then(|| [192, 0, 2, 7].into()),
            extra_sans: Vec::new(),
            api_port: 6443,
            component_server: ([127, 0, 0, 1], 6443).into(),
        };
        pki::ensure(dir, &request, Renew::Due, now).unwrap();
        let file = dir.join(Credential::ClusterAuthority.certificate());
        Authority::parse(&fs_err::read_to_string(file).unwrap()).unwrap()
    }

    /// An API server with these certificates. It sends back what it was asked, once.
    fn server(dir: &Path) -> SocketAddr {
        let chain = dir.join(Credential::ApiServer.certificate());
        let chain = CertificateDer::pem_file_iter(chain).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = dir.join(Credential::ApiServer.key());
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut asked = [0; 4096];
            let Ok(length) = stream.read(&mut asked) else {
                return;
            };
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let answer = format!("HTTP/1.0 200 OK\r\nDate: then\r\n\r\n{asked}");
            stream.write_all(answer.as_bytes()).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        });
        address
    }

    fn ask(pinned: &Arc<Pinned>, server: SocketAddr) -> Result<String, String> {
        let client = Client::pinned(server, pinned, Some("id.secret".to_owned())).unwrap();
        let answer = client.get("/path").map_err(|error| error.to_string())?;
        assert_eq!(answer.date, "then");
        Ok(answer.body)
    }

    #[test]
    fn the_authority_of_the_token_is_trusted_and_gets_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let authority = cluster(dir.path(), true, SystemTime::now());
        let pinned = pin(authority.key_digest());
        let asked = ask(&pinned, server(dir.path())).unwrap();
        assert!(asked.contains("Authorization: Bearer id.secret"), "{asked}");
        assert_eq!(pinned.authority().unwrap().pem(), authority.pem());
    }

    #[test]
    fn another_authority_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let authority = cluster(dir.path(), true, SystemTime::now());
        let pinned = pin(Sha256::of(b"another key"));
        ask(&pinned, server(dir.path())).unwrap_err();
        assert!(pinned.authority().is_none());
        assert_eq!(pinned.other(), Some(authority.key_digest()));
        assert!(!pinned.is_out_of_time());
    }

    #[test]
    fn a_server_that_does_not_show_its_authority_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let authority = cluster(dir.path(), false, SystemTime::now());
        let pinned = pin(authority.key_digest());
        ask(&pinned, server(dir.path())).unwrap_err();
        assert!(pinned.authority().is_none() && pinned.other().is_none());
    }

    #[test]
    fn a_wrong_clock_is_told_from_a_wrong_server() {
        let dir = tempfile::tempdir().unwrap();
        let later = SystemTime::now() + Duration::from_hours(48);
        let authority = cluster(dir.path(), true, later);
        let pinned = pin(authority.key_digest());
        ask(&pinned, server(dir.path())).unwrap_err();
        assert!(pinned.is_out_of_time() && pinned.authority().is_none());
        ask(&pinned.timeless(), server(dir.path())).unwrap();
    }
}
