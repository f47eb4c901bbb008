//! Sends single requests to the API server over HTTPS, with a client certificate.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned, WantsVerifier,
};

use super::Pinned;
use crate::error::{Context, Error, Kind, Result};
use crate::layout::{Kubeconfig, Layout};
use crate::progress::bytes;

/// How long the server may send nothing before the request fails.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes. A single object has at most 1.5 MiB, because etcd takes no more; questions for
/// many objects must limit their number.
const LONGEST: u64 = 16 << 20;
const JSON: &str = "application/json";
/// The media type of a patch that replaces the fields it names (RFC 7396).
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A server, and the certificate with which to authenticate to it.
#[derive(Debug, Clone)]
pub struct Client {
    server: SocketAddr,
    config: Arc<ClientConfig>,
    /// A token to authenticate with in place of a certificate.
    token: Option<String>,
}

/// The answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, for example 200.
    pub status: u16,
    /// The body.
    pub body: String,
    /// When the server answered, by its own clock, as the header `Date` says; empty if it does not say.
    pub date: String,
}

impl Client {
    /// A client with the identity of a kubeconfig. It trusts only the cluster authority.
    pub fn new(server: SocketAddr, layout: &Layout, identity: Kubeconfig) -> Result<Self> {
        let ca = layout.certificate(identity.authority());
        let certificate = layout.certificate(identity.credential());
        let key = layout.key(identity.credential());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca)? {
            roots.add(certificate).map_err(|error| bad(&ca, &error))?;
        }
        let config = builder()?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                certificates(&certificate)?,
                PrivateKeyDer::from_pem_slice(&fs_err::read(&key)?)
                    .map_err(|error| bad(&key, &error))?,
            )
            .map_err(|error| bad(&certificate, &error))?;
        Ok(Self {
            server,
            config: Arc::new(config),
            token: None,
        })
    }

    /// A client of a server whose authority is known only by the digest of its key. If it has a token, it authenticates
    /// with that, and sends it only to a server with a certificate of that authority. Afterwards, `pinned` knows the authority's certificate.
    pub(crate) fn pinned(
        server: SocketAddr,
        pinned: &Arc<Pinned>,
        token: Option<String>,
    ) -> Result<Self> {
        let config = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Pinned>::clone(pinned))
            .with_no_client_auth();
        Ok(Self {
            server,
            config: Arc::new(config),
            token,
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sends `GET path`. An answer with any status is a success.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, "", "")
    }

    /// Sends `PATCH path` with a body of the given media type. An answer with any status is a success.
    pub fn patch(&self, path: &str, media_type: &str, body: &str) -> Result<Answer> {
        self.send("PATCH", path, media_type, body)
    }

    /// Sends `POST path` with a body in JSON. An answer with any status is a success.
    pub fn post(&self, path: &str, body: &str) -> Result<Answer> {
        self.send("POST", path, JSON, body)
    }

    /// Sends `PUT path` with a body in JSON. An answer with any status is a success.
    pub fn put(&self, path: &str, body: &str) -> Result<Answer> {
        self.send("PUT", path, JSON, body)
    }

    /// Sends `DELETE path`. An answer with any status is a success.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.ask("DELETE", path, "", "")
    }

    fn send(&self, method: &str, path: &str, media_type: &str, body: &str) -> Result<Answer> {
        let length = body.len();
        let headers = format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n");
        self.ask(method, path, &headers, body)
    }

    /// Sends `GET path` and gives each line of the answer as it comes, until the server ends it or `each` gives false. Fails
    /// if the server says nothing for longer than `silence`, or answers with another status than 200.
    pub(super) fn lines(
        &self,
        path: &str,
        silence: Duration,
        each: &mut dyn FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let mut follow = || -> Result<()> {
            let request = self.request("GET", path, "", "")?;
            let mut stream = self.connect()?;
            stream.get_mut().set_read_timeout(Some(silence))?;
            let failed = |error| failure(error, silence);
            stream.write_all(request.as_bytes()).map_err(failed)?;
            let mut reader = BufReader::new(stream);
            let (mut head, mut line) = (String::new(), String::new());
            while read_line(&mut reader, &mut line).map_err(failed)? && line != "\r\n" {
                head.push_str(&line);
            }
            let status = parse(format!("{head}\r\n").as_bytes())?.status;
            if status != 200 {
                return Err(Error::new(Kind::Failed, format!("it answers {status}")));
            }
            while read_line(&mut reader, &mut line).map_err(failed)? {
                if !each(&line)? {
                    break;
                }
            }
            Ok(())
        };
        follow().about(|| format!("https://{}{path}", self.server))
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<Answer> {
        self.request(method, path, headers, body)
            .and_then(|request| self.exchange(&request))
            .about(|| format!("https://{}{}", self.server, path.escape_debug()))
    }

    /// The text of a request. Fails if the path would end in the middle of the line, because what follows would be a request of
    /// somebody else's.
    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(Kind::Failed, "this is no path of a request")
                .expected("ASCII characters without blanks"));
        }
        let token = self.token.as_ref();
        let token = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        Ok(format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nUser-Agent: usernetes\r\n{token}{headers}\r\n{body}",
            self.server
        ))
    }

    fn connect(&self) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.server, SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let name = ServerName::IpAddress(self.server.ip().into());
        let connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| Error::new(Kind::Failed, error.to_string()))?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// Sends a request. With HTTP/1.0, the answer is not chunked, and it ends when the connection is closed.
    fn exchange(&self, request: &str) -> Result<Answer> {
        let mut stream = self.connect()?;
        let failed = |error| failure(error, SILENCE);
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        match stream.take(LONGEST + 1).read_to_end(&mut answer) {
            Ok(_) => {}
            // A server written in Go may close the connection without the final TLS message.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed(error)),
        }
        check_length(answer.len())?;
        parse(&answer)
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Failed, error.to_string()))
}

/// An error of a connection. Reads and writes that exceed their time limit, those of the TLS handshake among them, end with
/// `WouldBlock`, which says nothing to people.
fn failure(error: io::Error, silence: Duration) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let silence = format!("no answer within {} s", silence.as_secs_f32());
            Error::new(Kind::Failed, silence)
        }
        _ => error.into(),
    }
}

/// Reads the next line. Gives false at the end, which a server written in Go may not announce.
fn read_line(reader: &mut impl BufRead, line: &mut String) -> io::Result<bool> {
    line.clear();
    match reader.read_line(line) {
        Ok(length) => Ok(length > 0),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Fails if an answer was cut off.
fn check_length(length: usize) -> Result<()> {
    if length as u64 <= LONGEST {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, "the answer is too long")
        .expected(format!("at most {}", bytes(LONGEST)))
        .hint("ask for fewer objects at a time, with `limit=`"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&fs_err::read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(path, &error))?;
    if found.is_empty() {
        return Err(bad(path, &"it does not contain a certificate"));
    }
    Ok(found)
}

fn bad(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Input, format!("{}: {error}", path.display()))
        .hint("`usernetes certs list` shows faults of the certificates")
}

/// The value of a header; empty if it is missing.
fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value.trim())
}

/// The three digits in the first line of an answer: `HTTP/1.1 200 OK`.
fn status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?.get(1..)?.strip_prefix(' ')?;
    let (digits, more) = rest.split_at_checked(3)?;
    let ends = more.is_empty() || more.starts_with([' ', '\r']);
    let digits = Some(digits).filter(|d| ends && d.bytes().all(|byte| byte.is_ascii_digit()));
    digits?.parse().ok().filter(|status| *status >= 100)
}

/// Takes the answer of a server apart.
pub(crate) fn parse(answer: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(answer);
    text.split_once("\r\n\r\n")
        .and_then(|(head, body)| {
            Some(Answer {
                status: status(head)?,
                body: body.to_owned(),
                date: header(head, "date").to_owned(),
            })
        })
        .ok_or_else(|| {
            Error::new(Kind::Failed, "the server does not speak HTTP")
                .expected("`HTTP/1.x`, a status and an empty line")
                .found(format!("{:?}", text.chars().take(80).collect::<String>()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn answers_are_parsed() {
        let good =
            parse(b"HTTP/1.0 403 Forbidden\r\nA: b\r\ndate: now\r\n\r\nno\r\n\r\nreally").unwrap();
        assert_eq!(
            good,
            Answer {
                status: 403,
                body: "no\r\n\r\nreally".to_owned(),
                date: "now".to_owned(),
            }
        );
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 \xff\xff\r\n\r\n",
            b"HTTP/1.1 +20 OK\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"HTTP/1.1 2000\r\n\r\n",
            b"HTTP/1.1 000\r\n\r\n",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.message(), "the server does not speak HTTP");
        }
    }

    #[test]
    fn a_path_ends_where_its_line_ends() {
        let pinned = super::super::pin(Sha256::of(b"key"));
        let client = Client::pinned(([127, 0, 0, 1], 6443).into(), &pinned, None).unwrap();
        let good = client
            .request("GET", "/api/v1/nodes?limit=1", "", "")
            .unwrap();
        assert!(
            good.starts_with("GET /api/v1/nodes?limit=1 HTTP/1.0\r\n"),
            "{good}"
        );
        for bad in ["/a b", "/a\r\nX: y", "/ä", "/a\n"] {
            let error = client.request("GET", bad, "", "").unwrap_err();
            assert_eq!(error.message(), "this is no path of a request");
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_named_as_such() {
        let server = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = server.local_addr().unwrap();
        let pinned = super::super::pin(Sha256::of(b"key"));
        let client = Client::pinned(address, &pinned, None).unwrap();
        let error = client
            .lines("/x", Duration::from_millis(100), &mut |_| Ok(true))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("https://{address}/x: no answer within 0.1 s")
        );
    }

    #[test]
    fn an_answer_that_was_cut_off_is_an_error() {
        let longest = usize::try_from(LONGEST).unwrap();
        check_length(longest).unwrap();
        let error = check_length(longest + 1).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the answer is too long
          expected  at most 16.8 MB

        hint: ask for fewer objects at a time, with `limit=`
        ");
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        fs_err::write(&file, "nothing").unwrap();
        let error = certificates(&file).unwrap_err().to_string();
        assert!(
            error.contains("ca.pem: it does not contain a certificate"),
            "{error}"
        );
    }
}
