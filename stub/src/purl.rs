//! Package URLs: names for packages that scanners for vulnerabilities and licences understand.
//!
//! Specified at <https://github.com/package-url/purl-spec>.

use std::fmt::Write as _;

use crate::bundle::{Component, Source};

/// A binary package of Debian, as its address in the lockfile says.
#[derive(Debug, PartialEq, Eq)]
pub struct DebianPackage<'a> {
    /// The package's name.
    pub name: &'a str,
    /// Its version, with the epoch; bundles of earlier releases do not know it.
    pub version: String,
    /// Debian's name of the architecture.
    pub arch: &'a str,
}

/// `owner/name` and tag of the release a download on GitHub belongs to.
#[must_use]
pub fn github_release(url: &str) -> Option<(&str, &str)> {
    let path = url.strip_prefix("https://github.com/")?;
    let (repository, rest) = path.split_once("/releases/download/")?;
    let (tag, file) = rest.rsplit_once('/')?;
    let whole = repository.matches('/').count() == 1 && !tag.is_empty() && !file.is_empty();
    whole.then_some((repository, tag))
}

/// The package a `debian:…/<name>_<version>_<arch>.deb` address names.
#[must_use]
pub fn debian_package(url: &str) -> Option<DebianPackage<'_>> {
    let path = url.strip_prefix("debian:")?.strip_suffix(".deb")?;
    let file = path.rsplit('/').next()?;
    let mut parts = file.splitn(3, '_');
    let (name, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
    let version = version.replace("%3a", ":").replace("%3A", ":");
    Some(DebianPackage {
        name,
        version,
        arch,
    })
}

/// Of a download that belongs to a component.
#[must_use]
pub fn of_source(component: &Component, source: &Source) -> String {
    let (name, version) = (component.name.as_str(), component.version.as_str());
    let Source { digest, url } = source;
    if let Some((repository, tag)) = github_release(url) {
        // The type `github` is case-insensitive and written in lower case.
        return format!("pkg:github/{}@{}", repository.to_lowercase(), encode(tag));
    }
    if let Some(DebianPackage {
        name,
        version,
        arch,
    }) = debian_package(url)
    {
        return format!(
            "pkg:deb/debian/{}@{}?arch={arch}",
            encode(name),
            encode(&version)
        );
    }
    if let Some((repository, tag)) = url.strip_prefix("oci://").and_then(|r| r.rsplit_once(':')) {
        let image = repository.rsplit('/').next().unwrap_or(repository);
        return format!(
            "pkg:oci/{}@{}?repository_url={}&tag={}",
            encode(image),
            encode(digest),
            encode_path(repository),
            encode(tag)
        );
    }
    format!(
        "pkg:generic/{}@{}?checksum={}&download_url={}",
        encode(name),
        encode(version),
        encode(digest),
        encode_path(url)
    )
}

/// Of a component: that of its first download, which is the one it is named after.
#[must_use]
pub fn of_component(component: &Component) -> String {
    match component.sources.first() {
        Some(source) => of_source(component, source),
        None => format!(
            "pkg:generic/{}@{}",
            encode(component.name.as_str()),
            encode(component.version.as_str())
        ),
    }
}

/// The version of a download that belongs to a component, as its publisher writes it: with the epoch of a Debian package,
/// which the component's own version lacks, as it is part of names of directories.
#[must_use]
pub fn version_of_source(component: &Component, source: &Source) -> String {
    debian_package(&source.url).map_or_else(|| component.version.to_string(), |p| p.version)
}

/// The same for a component: the version of its first download.
#[must_use]
pub fn version_of_component(component: &Component) -> String {
    match component.sources.first() {
        Some(source) => version_of_source(component, source),
        None => component.version.to_string(),
    }
}

/// Of a crate.
#[must_use]
pub fn of_crate(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// Percent-encoded, but for what never needs it.
fn encode(text: &str) -> String {
    encode_but(text, b"-._~:")
}

/// The same for a qualifier's value, where slashes stay.
fn encode_path(text: &str) -> String {
    encode_but(text, b"-._~:/")
}

fn encode_but(text: &str, plain: &[u8]) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Name, Version};

    fn component(url: &str) -> Component {
        Component {
            files: Vec::new(),
            homepage: String::new(),
            license: String::new(),
            links: Vec::new(),
            name: Name::new("thing").unwrap(),
            sources: vec![Source {
                digest: "sha256:aa".to_owned(),
                url: url.to_owned(),
            }],
            version: Version::new("1.2+b").unwrap(),
        }
    }

    fn of(url: &str) -> String {
        of_component(&component(url))
    }

    #[test]
    fn a_debian_packages_version_has_its_epoch() {
        let version = |url: &str| version_of_component(&component(url));
        assert_eq!(
            version("debian:pool/main/c/cni/cni_2%3a1.2-1_arm64.deb"),
            "2:1.2-1"
        );
        assert_eq!(version("debian:pool/main/c/cni/cni_1.2-1_all.deb"), "1.2-1");
        assert_eq!(
            version("https://example.org/cni_2%3a1.2-1_arm64.deb"),
            "1.2+b"
        );
    }

    #[test]
    fn each_kind_of_address() {
        insta::assert_snapshot!(of("https://github.com/Owner/Name/releases/download/v1.2/thing.tar.gz"), @"pkg:github/owner/name@v1.2");
        insta::assert_snapshot!(of("https://dl.example.org/thing?a=b"), @"pkg:generic/thing@1.2%2Bb?checksum=sha256:aa&download_url=https://dl.example.org/thing%3Fa%3Db");
        insta::assert_snapshot!(of("oci://registry.example.org/team/thing:v1.2"), @"pkg:oci/thing@sha256:aa?repository_url=registry.example.org/team/thing&tag=v1.2");
        insta::assert_snapshot!(of("debian:pool/main/t/thing/libthing1_1.2-1+b1_amd64.deb"), @"pkg:deb/debian/libthing1@1.2-1%2Bb1?arch=amd64");
        insta::assert_snapshot!(of("debian:pool/main/c/cni/cni_2%3a1.2~rc1-1_arm64.deb"), @"pkg:deb/debian/cni@2:1.2~rc1-1?arch=arm64");
        insta::assert_snapshot!(of_crate("zstd-sys", "2.1.3+zstd.1.5.7"), @"pkg:cargo/zstd-sys@2.1.3%2Bzstd.1.5.7");
    }

    #[test]
    fn almost_a_release_or_a_package() {
        for url in [
            "https://github.com/a/b/archive/v1.tar.gz",
            "https://github.com/a/releases/download/v1/x",
            "https://github.com/a/b/releases/download/x",
            "https://example.org/https://github.com/a/b/releases/download/v1/x",
        ] {
            assert_eq!(github_release(url), None, "{url}");
        }
        for url in [
            "debian:pool/x.deb",
            "debian:x_1_amd64.udeb",
            "https://x/x_1_amd64.deb",
        ] {
            assert_eq!(debian_package(url), None, "{url}");
        }
    }
}
