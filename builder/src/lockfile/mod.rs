//! The lockfile: the result of resolving the recipes. Besides source code, it is the only input of a build.

mod unique;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stub::bundle::places::Places;
use stub::bundle::{Arch, BundlePath, Link, Name, Version};
use stub::digest::{Digest, Sha256};
use stub::error::{Context, Error, Kind, Result};
use stub::{purl, text};

use crate::address::path;
use crate::recipe::{Format, Take, claim_all};

/// The schema this program writes and reads.
pub const SCHEMA: u32 = 1;

/// Exact versions, URLs, sizes and digests of everything that goes into a bundle, for every architecture.
///
/// Written with sorted keys and one value a line, so that a change of a pin is a diff of a few lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile {
    /// By name.
    #[serde(deserialize_with = "unique::map")]
    pub components: BTreeMap<Name, LockedComponent>,
    /// [`SCHEMA`].
    pub schema: u32,
}

/// A component at an exact version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedComponent {
    /// Its downloads, for each architecture it was looked for. None: it does not exist for this one.
    #[serde(deserialize_with = "unique::map")]
    pub artifacts: BTreeMap<Arch, Vec<Artifact>>,
    /// Components of one family are compressed against the family's largest file, or against the bundle's largest program.
    pub family: Name,
    /// The project's home page.
    pub homepage: String,
    /// SPDX licence expression.
    pub license: String,
    /// Its version.
    pub version: Version,
}

/// One pinned download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its digest; for an image, that of the index or manifest its tag pointed to. Absent: unpinned, nothing is built from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why the digest is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The files taken out of it.
    pub files: Vec<Take>,
    /// Its format.
    pub format: Format,
    /// Links put beside its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Its length in bytes, where upstream states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where it is published, in order of preference: `https://…`, `oci://registry/name:tag`, or `debian:<path in the archive>`.
    pub urls: Vec<String>,
}

/// Why a pinned digest is believed. Ordered from the weakest to the strongest kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Evidence {
    /// Public records of third parties who use the same file, or of a project that verifies its own downloads by it.
    Records {
        /// `A`: the upstream itself or a named project that verifies by it. `B`: two or more third parties.
        tier: String,
        /// Where they are.
        from: Vec<String>,
    },
    /// The digest that GitHub's API gives for the file.
    GithubDigest,
    /// The registry's digest of an image.
    RegistryDigest,
    /// A file of digests the upstream publishes.
    Checksums {
        /// Where it is.
        url: String,
    },
    /// The Debian archive: `InRelease`, signed, names `Packages`, which names the package.
    InRelease {
        /// The suite.
        suite: String,
        /// Fingerprint of the key that signed it.
        key: String,
    },
    /// A minisign signature by the key in the recipe.
    Minisign {
        /// Where it is.
        url: String,
        /// Public key.
        key: String,
    },
    /// An OpenPGP signature by a key in the recipe's keyring.
    Openpgp {
        /// Where it is.
        url: String,
        /// Fingerprint of the key that made it.
        key: String,
    },
}

impl Lockfile {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            components: BTreeMap::new(),
            schema: SCHEMA,
        }
    }

    /// Reads and checks a lockfile.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text::read(path).hint(|| {
            "name the lockfile with `--lockfile`, or create one with `builder lock --update`"
                .to_owned()
        })?;
        Self::parse(&text).about(|| path.display())
    }

    /// Reads and checks a lockfile's text.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let wrong = |e: serde_json::Error| {
            Error::new(Kind::Input, format!("bad lockfile: {e}")).hint(
                "restore it from version control, or create it again with `builder lock --update`",
            )
        };
        // The schema first: a newer one may have any shape.
        let Schema { schema } = serde_json::from_str(text).map_err(wrong)?;
        if schema != SCHEMA {
            return Err(Error::new(
                Kind::Input,
                "the lockfile has a schema this builder does not know",
            )
            .expected(format!("schema {SCHEMA}"))
            .found(format!("schema {schema}"))
            .hint("use the builder of the commit that the lockfile belongs to"));
        }
        let lockfile: Self = serde_json::from_str(text).map_err(wrong)?;
        lockfile.check()?;
        Ok(lockfile)
    }

    /// The text of the file.
    pub fn to_text(&self) -> Result<String> {
        // By way of a `Value`, whose keys are sorted.
        let text = serde_json::to_value(self).and_then(|v| serde_json::to_string_pretty(&v));
        text.map(|t| t + "\n")
            .map_err(|e| Error::new(Kind::Failed, format!("cannot write the lockfile: {e}")))
    }

    /// Digest of the file's text, by which a bundle names the lockfile it was built from.
    pub fn digest(&self) -> Result<Sha256> {
        Ok(Sha256::of(self.to_text()?.as_bytes()))
    }

    /// Replaces the file in one step: it is either the old or the new one, also after a crash.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check()?;
        crate::files::replace(path, self.to_text()?.as_bytes())
    }

    /// Checks rules that the types do not express: versions occur in URLs, and every path has one owner.
    pub fn check(&self) -> Result<()> {
        for arch in Arch::ALL {
            let mut places = Places::default();
            for (name, component) in &self.components {
                let artifacts = component.artifacts.get(&arch).into_iter().flatten();
                for (index, artifact) in artifacts.enumerate() {
                    artifact
                        .check(&component.version, index == 0)
                        .about(|| format!("{name} {} ({arch})", component.version))?;
                    claim_all(&mut places, name, artifact.paths())?;
                }
            }
        }
        Ok(())
    }

    /// Whether every download of these components, or of all if none is named, has a digest. The error names those that
    /// have none, after an update that could not pin them.
    pub fn require_pinned(&self, only: &[Name]) -> Result<()> {
        let mut unpinned = Vec::new();
        for (name, component) in &self.components {
            let artifacts = component.artifacts.values().flatten();
            let mut without = artifacts.filter(|artifact| artifact.digest.is_none());
            if only.is_empty() || only.contains(name) {
                unpinned.extend(without.next().map(|artifact| (name, artifact.url())));
            }
        }
        if unpinned.is_empty() {
            return Ok(());
        }
        let error = Error::new(
            Kind::Input,
            "these downloads are still unpinned, and nothing is built from them",
        )
        .hint("see the notes above; add a check to the recipe for a digest or signature that upstream publishes");
        let unpinned = unpinned.into_iter();
        Err(unpinned.fold(error, |error, (name, url)| error.detail(name.as_str(), url)))
    }

    /// The components a bundle for this architecture is made of, in order. `only` restricts them to those named.
    pub fn select(
        &self,
        arch: Arch,
        only: &[Name],
    ) -> Result<BTreeMap<&Name, (&LockedComponent, &[Artifact])>> {
        if let Some(unknown) = only.iter().find(|n| !self.components.contains_key(n)) {
            return Err(Error::new(
                Kind::Usage,
                format!("the lockfile has no component `{unknown}`"),
            )
            .expected(
                self.components
                    .keys()
                    .map(Name::as_str)
                    .collect::<Vec<_>>()
                    .join(", "),
            ));
        }
        let wanted = self
            .components
            .iter()
            .filter(|(name, _)| only.is_empty() || only.contains(name));
        wanted
            .map(|(name, component)| {
                let artifacts = component.artifacts.get(&arch).ok_or_else(|| {
                    Error::new(
                        Kind::Input,
                        format!("{name} {} is not locked for {arch}", component.version),
                    )
                    .hint(format!("pin it with `builder lock --update {name}`"))
                })?;
                if artifacts.is_empty() {
                    return Err(component.not_for(name, arch));
                }
                Ok((name, (component, artifacts.as_slice())))
            })
            .collect()
    }
}

impl Default for Lockfile {
    fn default() -> Self {
        Self::new()
    }
}

impl LockedComponent {
    /// The architectures it exists for.
    pub(crate) fn arches(&self) -> impl Iterator<Item = Arch> {
        let existing = self.artifacts.iter().filter(|(_, a)| !a.is_empty());
        existing.map(|(arch, _)| *arch)
    }

    fn not_for(&self, name: &Name, arch: Arch) -> Error {
        let arches: Vec<&str> = self.arches().map(Arch::as_str).collect();
        Error::new(
            Kind::Input,
            format!("{name} {} does not exist for {arch}", self.version),
        )
        .expected(format!("a download for {arch}"))
        .found(format!("one for {} only", arches.join(", ")))
        .hint(format!(
            "leave it out by naming the others with `--components`, or, once upstream has it for {arch}, run \
             `builder lock --update {name}`"
        ))
    }

    /// Its version as its publisher writes it: for a Debian package with the epoch, without which versions cannot be
    /// compared. Lockfiles of earlier releases have no epoch.
    #[must_use]
    pub fn full_version(&self) -> String {
        let first = self.artifacts.values().find_map(|a| a.first());
        let package = first.and_then(|a| purl::debian_package(a.url()));
        package.map_or_else(|| self.version.to_string(), |package| package.version)
    }
}

impl Artifact {
    /// The pinned digest, or the error that says how to pin it.
    pub fn pinned(&self, name: &Name) -> Result<Digest> {
        self.digest.ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("{name}: this download is unpinned: lockfile.json has no digest for it"),
            )
            .detail("url", self.urls.first().map_or("none", String::as_str))
            .hint(format!("pin it with `builder lock --update {name}`"))
        })
    }

    /// Where it is published, for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        self.urls.first().map_or("(no URL)", String::as_str)
    }

    /// The paths it gives its component, of files and of links.
    fn paths(&self) -> impl Iterator<Item = &BundlePath> {
        let files = self.files.iter().map(|f| &f.to);
        files.chain(self.links.iter().map(|l| &l.path))
    }

    fn check(&self, version: &Version, first: bool) -> Result<()> {
        if self.urls.is_empty() {
            return Err(Error::new(Kind::Input, "an artifact has no URL")
                .hint("create the entry again with `builder lock --update`"));
        }
        // The version of a component made of several packages is that of the first.
        if self.format == Format::Deb && !first {
            return Ok(());
        }
        // A changed version with an old digest would silently bring the old file, because files are found by their digest.
        let names =
            |url: &str| url.contains(version.as_str()) || path(url).contains(version.as_str());
        if let Some(url) = self.urls.iter().find(|url| !names(url)) {
            return Err(
                Error::new(Kind::Input, "the version does not occur in a URL")
                    .detail("version", version)
                    .detail("url", url)
                    .hint(
                        "a digest belongs to one version: change both with `builder lock --update`",
                    ),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
