//! Recipes: `recipes/<component>.toml`.
//!
//! A recipe says where a component comes from, how its newest version is found, how it is checked, which files of it
//! we take, and its licence. `builder lock --update` resolves recipes into the [lockfile](crate::lockfile); nothing
//! else reads them. In strings, `{version}`, `{minor}` (`1.36` of `1.36.3`), `{arch}` (`x86_64`) and `{goarch}`
//! (`amd64`) are filled in.

use std::collections::BTreeMap;
use std::path::Path;

use semver::VersionReq;
use serde::{Deserialize, Serialize};
use stub::bundle::{Arch, BundlePath, Link, Name, Version};
use stub::error::{Context, Error, Kind, Result};

/// A recipe, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is for, in a few words.
    pub summary: String,
    /// The project's home page.
    pub homepage: String,
    /// SPDX licence expression of the files we take.
    pub license: String,
    /// Components of one family are compressed against the family's largest file. Its own name when absent.
    pub family: Option<Name>,
    /// Where its newest version is announced.
    pub version: VersionSource,
    /// What to download.
    #[serde(rename = "artifact")]
    pub artifacts: Vec<ArtifactRecipe>,
}

/// Where the newest version of a component is announced.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VersionSource {
    /// The releases of a GitHub repository.
    Github {
        /// `owner/name`.
        repository: String,
        /// The form of its release tags, for example `v{version}`.
        tag: String,
        /// Which versions we take.
        allow: VersionReq,
    },
    /// A text file that holds nothing but a version, for example `https://dl.k8s.io/release/stable-1.36.txt`.
    Text {
        /// Where it is.
        url: String,
        /// The form of its content, for example `v{version}`.
        tag: String,
        /// Which versions we take.
        allow: VersionReq,
    },
    /// The tags of an image in an OCI registry.
    Registry {
        /// The image without a tag, for example `registry.k8s.io/pause`.
        image: String,
        /// The form of its tags, for example `v{version}`.
        tag: String,
        /// Which versions we take.
        allow: VersionReq,
    },
    /// The Debian archive this machine's apt uses. The version is that of the first artifact's package.
    Debian {
        /// Suite of the packages, for example `sid`; the machine's own when absent.
        suite: Option<String>,
    },
}

/// One download of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecipe {
    /// Where it is, in order of preference. For images `oci://registry/name:tag`. Empty for packages.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Name of a Debian package, instead of `urls`.
    pub package: Option<String>,
    /// What it is packed in.
    pub format: Format,
    /// What it can be checked against, all of which must agree.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The files we take.
    #[serde(default, rename = "file")]
    pub files: Vec<Take>,
    /// Links to put beside them.
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
}

/// What a download is packed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Format {
    /// Nothing: the download is the file.
    #[serde(rename = "plain")]
    Plain,
    /// An uncompressed tar archive.
    #[serde(rename = "tar")]
    Tar,
    /// tar, gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// tar, bzip2.
    #[serde(rename = "tar.bz2")]
    TarBz2,
    /// tar, xz.
    #[serde(rename = "tar.xz")]
    TarXz,
    /// tar, zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
    /// A Debian package.
    #[serde(rename = "deb")]
    Deb,
    /// Files out of the layers of an OCI image.
    #[serde(rename = "oci-files")]
    OciFiles,
    /// A whole OCI image, stored as an OCI image layout in the directory that is the only file's `to`.
    #[serde(rename = "oci-image")]
    OciImage,
}

/// What an upstream publishes to check a download by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Check {
    /// A file with a line `<digest>  <name>` for each of a release's files.
    Checksums {
        /// Where it is.
        url: String,
    },
    /// A file beside the download that holds its digest, alone or followed by its name.
    Sidecar {
        /// Where it is. `{url}` is the download's first URL.
        url: String,
    },
    /// The digest that GitHub's API gives for a release's file.
    GithubDigest,
    /// A minisign signature.
    Minisign {
        /// Where it is. `{url}` is the download's first URL.
        url: String,
        /// The public key, base64.
        key: String,
    },
    /// A detached OpenPGP signature.
    Openpgp {
        /// Where it is. `{url}` is the download's first URL.
        url: String,
        /// Keyring file beside the recipe.
        keyring: String,
    },
}

/// A file taken out of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Its path in the archive, without a leading `./` or `/`. Absent when the download itself is the file, or the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it goes: a path in the component.
    pub to: BundlePath,
}

impl Format {
    /// Whether the download is a Merkle tree of blobs in a registry instead of one file.
    #[must_use]
    pub fn is_oci(self) -> bool {
        matches!(self, Self::OciFiles | Self::OciImage)
    }
}

/// Reads every `*.toml` in a directory. The file's stem is the component's name.
pub fn read_all(directory: &Path) -> Result<BTreeMap<Name, Recipe>> {
    let mut recipes = BTreeMap::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let stem = path
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default();
            let about = || path.display().to_string();
            let name = Name::new(stem).about(about)?;
            let recipe = Recipe::parse(&fs_err::read_to_string(&path)?).about(about)?;
            recipes.insert(name, recipe);
        }
    }
    if recipes.is_empty() {
        return Err(Error::new(
            Kind::Input,
            format!("{}: no recipe here", directory.display()),
        )
        .expected("files named `<component>.toml`")
        .hint("name the directory of recipes with `--recipes`"));
    }
    Ok(recipes)
}

impl Recipe {
    /// Reads and checks a recipe's text.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|e| {
            Error::new(
                Kind::Input,
                format!("bad recipe\n{}", e.to_string().trim_end()),
            )
            .hint("`recipes/etcd.toml` is a commented example of all there is")
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::new(Kind::Input, format!("bad recipe: {why}")));
        if self.artifacts.is_empty() {
            return wrong("it has no `[[artifact]]`".to_owned());
        }
        let debian = matches!(self.version, VersionSource::Debian { .. });
        for (index, artifact) in self.artifacts.iter().enumerate() {
            let name = artifact
                .package
                .as_ref()
                .or(artifact.urls.first())
                .map_or_else(|| format!("artifact {}", index + 1), Clone::clone);
            if artifact.package.is_some() != debian || artifact.urls.is_empty() != debian {
                return wrong(format!(
                    "`{name}`: a recipe `from = \"debian\"` has a `package` in each artifact, every other one has `urls`"
                ));
            }
            if debian != (artifact.format == Format::Deb) {
                return wrong(format!(
                    "`{name}`: the format `deb` goes with `from = \"debian\"`, and only with it"
                ));
            }
            if artifact.files.is_empty() {
                return wrong(format!("`{name}`: it takes no `[[artifact.file]]`"));
            }
            let whole = matches!(artifact.format, Format::Plain | Format::OciImage);
            if whole && (artifact.files.len() != 1 || artifact.files[0].from.is_some()) {
                return wrong(format!(
                    "`{name}`: the whole download is taken, as one `[[artifact.file]]` without `from`"
                ));
            }
            if !whole && artifact.files.iter().any(|f| f.from.is_none()) {
                return wrong(format!("`{name}`: every file of an archive needs `from`"));
            }
            if artifact
                .urls
                .iter()
                .any(|u| u.starts_with("oci://") != artifact.format.is_oci())
            {
                return wrong(format!(
                    "`{name}`: `oci://` addresses go with the formats `oci-files` and `oci-image`, and only with them"
                ));
            }
        }
        Ok(())
    }
}

/// What is filled into a recipe's strings.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// The component's version.
    pub version: &'a Version,
    /// The processor.
    pub arch: Arch,
}

impl Fill<'_> {
    /// Replaces `{version}`, `{minor}`, `{arch}` and `{goarch}`. Anything else in braces is an error.
    pub fn apply(&self, template: &str) -> Result<String> {
        let version = self.version.as_str();
        let minor = version
            .match_indices('.')
            .nth(1)
            .map_or(version, |(at, _)| &version[..at]);
        let text = template
            .replace("{version}", version)
            .replace("{minor}", minor)
            .replace("{arch}", self.arch.as_str())
            .replace("{goarch}", self.arch.go_name());
        if text.contains(['{', '}']) {
            return Err(
                Error::new(Kind::Input, format!("unknown placeholder in `{template}`"))
                    .expected("`{version}`, `{minor}`, `{arch}` or `{goarch}`"),
            );
        }
        Ok(text)
    }
}
