//! Recipes: `recipes/<component>.toml`.
//!
//! A recipe says where a component comes from, how its newest version is found, how it is checked, which files of it
//! we take, and its licence. `builder lock --update` resolves recipes into the [lockfile](crate::lockfile); nothing
//! else reads them. In `urls`, `from` and the `url` of a check, `{version}`, `{minor}` (`1.36` of `1.36.3`), `{arch}`
//! (`x86_64`) and `{goarch}` (`amd64`) are filled in.

mod check;
mod fill;
mod places;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::VersionReq;
use serde::{Deserialize, Serialize};
use stub::bundle::places::Places;
use stub::bundle::{BundlePath, Link, Name};
use stub::error::{Context, Error, Kind, Result};
use stub::text;

pub use fill::Fill;
pub(crate) use places::claim_all;
pub use version::comparable;

/// The next step for every fault of a recipe that has no better one.
const HINT: &str =
    "see `recipes/etcd.toml`, a commented example of everything that a recipe can say";

/// A recipe, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its purpose, in a few words.
    pub summary: String,
    /// The project's home page.
    pub homepage: String,
    /// SPDX licence expression of the files we take and of the libraries statically linked into them.
    pub license: String,
    /// Components of one family are compressed against the family's largest file, or against the bundle's largest program. Its
    /// own name when absent.
    pub family: Option<Name>,
    /// Where its newest version is announced.
    pub version: VersionSource,
    /// Its downloads.
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
    /// Where it is, in order of preference. For images `oci://registry/name:tag`, over HTTPS unless the registry is at a
    /// loopback address. Empty for packages.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Name of a Debian package, instead of `urls`.
    pub package: Option<String>,
    /// Its format.
    pub format: Format,
    /// The digests and signatures it is checked by, which must all agree. None for packages and images: the archive's signed
    /// index and the registry's digest identify them.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The files we take.
    #[serde(default, rename = "file")]
    pub files: Vec<Take>,
    /// Links to put beside them.
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
}

/// The format of a download.
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

/// A digest or signature that an upstream publishes for a download.
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

/// Reads every `*.toml` in a directory, and checks that no two want the same path. The file's stem is the component's name.
pub fn read_all(directory: &Path) -> Result<BTreeMap<Name, Recipe>> {
    let mut recipes = BTreeMap::new();
    for path in files(directory)? {
        let about = || path.display().to_string();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = Name::new(stem)
            .about(about)
            .hint(|| "the file's name is the component's name and `.toml`".to_owned())?;
        let recipe = Recipe::parse(&text::read(&path)?).about(about)?;
        recipes.insert(name, recipe);
    }
    if recipes.is_empty() {
        return Err(Error::new(
            Kind::Input,
            format!("{}: there are no recipes here", directory.display()),
        )
        .expected("files named `<component>.toml`")
        .hint("name the directory of recipes with `--recipes`"));
    }
    let mut places = Places::default();
    for (name, recipe) in &recipes {
        claim_all(&mut places, name, recipe.paths())?;
    }
    Ok(recipes)
}

/// In order, so that of several bad recipes the same one is reported each time.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(directory)
        .hint(|| "name the directory of recipes with `--recipes`".to_owned())?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Recipe {
    /// Reads and checks a recipe's text.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|e| {
            let what = e.to_string();
            Error::new(Kind::Input, format!("bad recipe\n{}", what.trim_end())).hint(HINT)
        })?;
        recipe
            .check()
            .about(|| "bad recipe")
            .hint(|| HINT.to_owned())?;
        Ok(recipe)
    }

    /// All paths the recipe's component has, of files and of links.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &BundlePath> {
        self.artifacts.iter().flat_map(|a| {
            let files = a.files.iter().map(|f| &f.to);
            files.chain(a.links.iter().map(|l| &l.path))
        })
    }
}

#[cfg(test)]
mod tests;
