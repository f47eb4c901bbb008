//! A read-only registry (Open Container Initiative, Distribution Specification 1.1, "Pull") on the loopback address of the
//! namespaces. It is for a container runtime that can only pull images from a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::contents::{Blob, Contents};
use crate::error::{Context, Result};
use crate::oci;
use crate::process::say;

/// How long a client may send nothing before the connection is closed.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest request that is read, in bytes.
const LONGEST_REQUEST: u64 = 16 << 10;
/// The longest manifest that is read to determine its media type, in bytes. The specification requires no more.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// The images of the registry. The name of an image's original registry is part of the repository:
/// `registry.k8s.io/pause`.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// The digests of images, by repository and tag.
    tags: BTreeMap<(String, String), String>,
    /// The parts of images, by digest.
    blobs: BTreeMap<String, Blob>,
}

impl Registry {
    /// Adds images and their parts.
    pub(super) fn add(&mut self, contents: Contents) {
        for image in contents.images {
            let (repository, tag) = split(&image.name);
            let tag = (repository.to_owned(), tag.to_owned());
            self.tags.insert(tag, image.digest);
        }
        let blobs = contents.blobs.into_iter();
        self.blobs
            .extend(blobs.map(|(digest, blob)| (format!("sha256:{digest}"), blob)));
    }

    /// The repositories of its images.
    pub(super) fn repositories(&self) -> BTreeSet<String> {
        self.tags.keys().map(|(name, _)| name.clone()).collect()
    }

    /// Starts to answer requests, as long as this process runs. Returns the port.
    pub(super) fn serve(self) -> Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .about(|| "cannot start the registry for images")?;
        let port = listener.local_addr()?.port();
        let registry = Arc::new(self);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let registry = Arc::clone(&registry);
                thread::spawn(move || {
                    if let Err(error) = registry.talk(&stream) {
                        say(format!("the registry for images could not answer: {error}"));
                    }
                });
            }
        });
        Ok(port)
    }

    /// Answers one request.
    fn talk(&self, stream: &TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next());
        let answer = match (method, target) {
            ("GET" | "HEAD", Some(target)) => self.answer(target)?,
            ("", None) => return Ok(()),
            _ => Answer::empty("405 Method Not Allowed"),
        };
        answer.send(stream, method == "GET")
    }

    fn answer(&self, target: &str) -> Result<Answer> {
        let path = target.split('?').next().unwrap_or_default();
        let Some(rest) = path.strip_prefix("/v2/") else {
            return Ok(Answer::empty("404 Not Found"));
        };
        if rest.is_empty() {
            return Ok(Answer::empty("200 OK"));
        }
        let manifest = rest
            .rsplit_once("/manifests/")
            .map(|(repository, reference)| {
                let tag = (repository.to_owned(), reference.to_owned());
                self.tags.get(&tag).map_or(reference, String::as_str)
            });
        let digest = manifest.or(rest.rsplit_once("/blobs/").map(|(_, digest)| digest));
        let Some((digest, blob)) =
            digest.and_then(|digest| Some((digest, self.blobs.get(digest)?)))
        else {
            return Ok(Answer::empty("404 Not Found"));
        };
        let media_type = match manifest {
            Some(_) => media_type(blob)?,
            None => "application/octet-stream".to_owned(),
        };
        Ok(Answer {
            status: "200 OK",
            headers: format!("Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n"),
            body: Some(blob.clone()),
        })
    }
}

/// Splits an image's name into the repository and the tag or digest.
fn split(name: &str) -> (&str, &str) {
    if let Some(parts) = name.split_once('@') {
        return parts;
    }
    match name.rsplit_once(':') {
        // Otherwise the text after the colon is the port of the registry.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}

/// The media type that a manifest contains. If it contains none, the type that fits its contents.
fn media_type(manifest: &Blob) -> Result<String> {
    let mut bytes = Vec::new();
    manifest
        .open()?
        .take(LONGEST_MANIFEST)
        .read_to_end(&mut bytes)?;
    let manifest: Value = serde_json::from_slice(&bytes).map_err(io::Error::from)?;
    let looks_like = if manifest["manifests"].is_array() {
        oci::INDEX
    } else {
        oci::MANIFEST
    };
    Ok(manifest["mediaType"]
        .as_str()
        .unwrap_or(looks_like)
        .to_owned())
}

struct Answer {
    status: &'static str,
    /// Header lines, each with a line break at its end.
    headers: String,
    body: Option<Blob>,
}

impl Answer {
    fn empty(status: &'static str) -> Self {
        Self {
            status,
            headers: String::new(),
            body: None,
        }
    }

    fn send(&self, mut to: &TcpStream, with_body: bool) -> Result<()> {
        let size = self.body.as_ref().map_or(0, |body| body.size);
        write!(
            to,
            "HTTP/1.1 {}\r\n{}Docker-Distribution-API-Version: registry/2.0\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n",
            self.status, self.headers
        )?;
        if let Some(body) = self.body.as_ref().filter(|_| with_body) {
            io::copy(&mut body.open()?, &mut to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contents::tests::archive;
    use super::*;

    const INDEX: &str = r#"{"manifests":[{"digest":"sha256:a","annotations":{"io.containerd.image.name":"x.example:5000/some/tool:1"}}]}"#;

    /// The port of a registry, and the directory with its archive.
    fn registry() -> (u16, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool.tar");
        archive(
            &path,
            &[
                ("index.json", INDEX),
                ("blobs/sha256/a", r#"{"config":{},"layers":[]}"#),
                ("blobs/sha256/b", "a layer"),
                (
                    "blobs/sha256/c",
                    r#"{"mediaType":"its/own","manifests":[]}"#,
                ),
            ],
        );
        let mut registry = Registry::default();
        registry.add(Contents::of(&path).unwrap());
        assert_eq!(
            registry.repositories().into_iter().collect::<Vec<_>>(),
            ["x.example:5000/some/tool"]
        );
        (registry.serve().unwrap(), dir)
    }

    fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        io::read_to_string(stream).unwrap()
    }

    #[test]
    fn the_registry_answers_according_to_the_specification() {
        let (port, _dir) = registry();
        let ok = |answer: &str| answer.starts_with("HTTP/1.1 200 OK\r\n");
        assert!(ok(&ask(port, "GET /v2/")));
        let tool = "/v2/x.example:5000/some/tool";
        let by_tag = ask(port, &format!("GET {tool}/manifests/1?ns=x.example"));
        insta::assert_snapshot!(by_tag.replace('\r', ""), @r#"
        HTTP/1.1 200 OK
        Content-Type: application/vnd.oci.image.manifest.v1+json
        Docker-Content-Digest: sha256:a
        Docker-Distribution-API-Version: registry/2.0
        Content-Length: 25
        Connection: close

        {"config":{},"layers":[]}
        "#);
        let by_digest = ask(port, &format!("GET {tool}/manifests/sha256:a"));
        assert_eq!(by_digest, by_tag);
        let head = ask(port, &format!("HEAD {tool}/manifests/1"));
        assert_eq!(format!("{head}{{\"config\":{{}},\"layers\":[]}}"), by_tag);
        let index = ask(port, &format!("GET {tool}/manifests/sha256:c"));
        assert!(index.contains("Content-Type: its/own\r\n"), "{index}");
        let layer = ask(port, &format!("GET {tool}/blobs/sha256:b"));
        assert!(ok(&layer) && layer.ends_with("\r\n\r\na layer"), "{layer}");
        for missing in [
            "GET /",
            "GET /v2/x.example:5000/some/tool/manifests/2",
            "GET /v2/other/manifests/1",
            "GET /v2/other/blobs/sha256:d",
            "GET /v2/x.example:5000/some/tool/blobs/../../../../etc/passwd",
        ] {
            let answer = ask(port, missing);
            assert!(
                answer.starts_with("HTTP/1.1 404 Not Found\r\n"),
                "{missing}: {answer}"
            );
        }
        assert!(ask(port, "POST /v2/").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn names_of_images_are_split() {
        for (name, parts) in [
            (
                "registry.k8s.io/pause:3.10.1",
                ("registry.k8s.io/pause", "3.10.1"),
            ),
            ("x.example:5000/tool", ("x.example:5000/tool", "latest")),
            ("x.example/tool@sha256:ab", ("x.example/tool", "sha256:ab")),
        ] {
            assert_eq!(split(name), parts);
        }
    }
}
