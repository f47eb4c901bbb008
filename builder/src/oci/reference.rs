//! Names of images: `oci://registry/name:tag`, and the full form of Docker Hub's short names.

use std::fmt;

use stub::error::{Error, Kind, Result};

/// The beginning of an image's address in recipes and lockfiles.
pub const SCHEME: &str = "oci://";

/// Docker Hub, as names of images have it.
const HUB: &str = "docker.io";
/// Other hosts that are Docker Hub, the first of which is its registry.
const HUB_HOSTS: [&str; 2] = ["registry-1.docker.io", "index.docker.io"];
/// Where Docker Hub keeps the images whose name has one part.
const HUB_OFFICIAL: &str = "library/";

/// The full name of an image. Its text is that of container runtimes: `docker.io/library/busybox:1.37`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    /// The image's name in its registry.
    pub repository: String,
    /// The text after the colon.
    pub tag: Option<String>,
}

impl Reference {
    /// Reads `oci://registry/name:tag`; the tag may be absent, and a digest is ignored. `oci://docker.io/busybox` is
    /// `docker.io/library/busybox`, as it is for Docker.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = || {
            Error::new(
                Kind::Input,
                format!("`{url}` is not the address of an image"),
            )
            .expected(
                "`oci://registry/name:tag`, for example `oci://docker.io/library/busybox:1.37`",
            )
            .hint("write the registry, too; that of Docker Hub is `docker.io`")
        };
        let name = url.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        let (registry, name) = name.split_once('/').ok_or_else(wrong)?;
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (name, None),
        };
        if registry.is_empty() || repository.is_empty() || tag.as_deref() == Some("") {
            return Err(wrong());
        }
        let hub = registry == HUB || HUB_HOSTS.contains(&registry);
        let official = hub && !repository.contains('/');
        Ok(Self {
            registry: if hub { HUB } else { registry }.to_owned(),
            repository: if official { HUB_OFFICIAL } else { "" }.to_owned() + repository,
            tag,
        })
    }

    /// Where the registry answers. Docker Hub's is not where its name says.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.registry == HUB {
            HUB_HOSTS[0]
        } else {
            &self.registry
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_container_runtimes() {
        for (url, name, host) in [
            ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1", "ghcr.io"),
            (
                "docker.io/busybox:1.37",
                "docker.io/library/busybox:1.37",
                "registry-1.docker.io",
            ),
            (
                "docker.io/library/busybox",
                "docker.io/library/busybox",
                "registry-1.docker.io",
            ),
            (
                "index.docker.io/alpine:3",
                "docker.io/library/alpine:3",
                "registry-1.docker.io",
            ),
            (
                "registry-1.docker.io/flannel/flannel:v1@sha256:ab",
                "docker.io/flannel/flannel:v1",
                "registry-1.docker.io",
            ),
            ("localhost:5000/a:1", "localhost:5000/a:1", "localhost:5000"),
            ("mydocker.io/a:1", "mydocker.io/a:1", "mydocker.io"),
        ] {
            let reference = Reference::parse(&format!("oci://{url}")).unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.host()),
                (name, host)
            );
            // The name in a lockfile is read back as the same name.
            assert_eq!(
                Reference::parse(&format!("oci://{name}")).unwrap(),
                reference
            );
        }
    }

    #[test]
    fn a_name_without_a_registry_is_refused() {
        for bad in [
            "oci://",
            "oci://host",
            "oci:///name",
            "oci://host/",
            "oci://host/name:",
            "oci://busybox:1.37",
            "https://host/name",
        ] {
            let error = Reference::parse(bad).unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{bad}`")) && error.contains("hint: "),
                "{error}"
            );
        }
    }
}
