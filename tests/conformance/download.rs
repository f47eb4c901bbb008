//! `e2e.test` of the cluster's version, from where Kubernetes publishes it.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::files::replace;
use builder::http::Client;
use flate2::read::GzDecoder;
use fs_err as fs;
use stub::child;
use stub::digest::Digest;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

/// Where Kubernetes publishes its releases.
const RELEASES: &str = "https://dl.k8s.io/release";

/// The archive with the tests has about 300 MB.
const LONGEST: u64 = 1 << 30;

/// Downloads the program into a directory, unless it is there. Gives its file.
pub(crate) fn e2e(kubeconfig: &Path, directory: &Path, progress: &Progress) -> Result<PathBuf> {
    let version = version(kubeconfig)?;
    let file = directory.join(format!("e2e.test-{version}"));
    if !file.exists() {
        progress.line(format!("download the tests of Kubernetes {version}"));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let archive = download(&Client::new(), RELEASES, &version)?;
        replace(&file, &program(&archive)?)?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    }
    Ok(file)
}

/// The version of the cluster, such as `v1.36.2`.
fn version(kubeconfig: &Path) -> Result<String> {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["get", "--raw", "/version"]);
    let answer = child::run(&mut command)?.success()?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let version = answer["gitVersion"].as_str().unwrap_or_default();
    // What follows a plus is of whoever has built it.
    let version = version.split('+').next().unwrap_or_default();
    if version.starts_with('v') {
        return Ok(version.to_owned());
    }
    Err(Error::new(
        Kind::Failed,
        "the cluster does not say which version it has",
    ))
}

/// Downloads the archive of a version, and compares it with the digest that is published beside it.
fn download(client: &Client, releases: &str, version: &str) -> Result<Vec<u8>> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let url = format!("{releases}/{version}/kubernetes-test-linux-{arch}.tar.gz");
    let published = client.get(&format!("{url}.sha512"), 1 << 10)?;
    let published = String::from_utf8_lossy(&published);
    let published: Digest = format!("sha512:{}", published.trim()).parse()?;
    let archive = client.get(&url, LONGEST)?;
    let found = published.same_kind_of(&archive);
    if found == published {
        return Ok(archive);
    }
    Err(Error::new(Kind::Integrity, format!("{url} is damaged"))
        .expected(published)
        .found(found)
        .hint("run the same command again"))
}

/// The program in an archive of tests.
fn program(archive: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("kubernetes/test/bin/e2e.test") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    Err(Error::new(
        Kind::Integrity,
        "the archive of tests has no kubernetes/test/bin/e2e.test",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use support::server::Server;

    fn archive(path: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_cksum();
        tar.append_data(&mut header, path, &b"e2e!"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn an_archive_is_compared_with_its_published_digest() {
        let server = Server::start();
        let content = archive("kubernetes/test/bin/e2e.test");
        let digest: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        let digest = digest.same_kind_of(&content).hex();
        for version in ["v1.0.0", "v1.0.1"] {
            let name = |arch| format!("/{version}/kubernetes-test-linux-{arch}.tar.gz");
            for arch in ["amd64", "arm64"] {
                server.good(&name(arch), &content);
                let published = if version == "v1.0.0" {
                    digest.clone()
                } else {
                    digest.replace('a', "b")
                };
                server.good(&format!("{}.sha512", name(arch)), published.as_bytes());
            }
        }
        let client = Client::new();
        let got = download(&client, &server.url(""), "v1.0.0").unwrap();
        assert_eq!(program(&got).unwrap(), b"e2e!");
        let error = download(&client, &server.url(""), "v1.0.1").unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(download(&client, &server.url(""), "v1.0.2").is_err());
    }

    #[test]
    fn an_archive_without_the_program_is_refused() {
        let error = program(&archive("kubernetes/test/bin/e2e_node.test")).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
    }
}
