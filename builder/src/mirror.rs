//! Mirrors: directories or web servers with a cache's layout (`sha256/ab/abcd…`). `cp -r` of a cache is one too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stub::bundle::{Arch, Name};
use stub::digest::Digest;
use stub::error::{Context, Error, Kind, Result};

use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::oci::Image;

/// Where downloads are looked for before their own URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirror {
    /// A directory.
    Directory(PathBuf),
    /// The address of such a directory on a web server, without a slash at the end.
    Url(String),
}

impl Mirror {
    /// Reads the argument of `--mirror`: an `http://` or `https://` address, or a directory that exists.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text.trim_end_matches('/').to_owned()));
        }
        let wrong = |why: &str| {
            Error::new(Kind::Usage, format!("mirror `{text}`: {why}"))
                .expected(
                    "a directory with `sha256/ab/abcd…` in it, or the https:// address of one",
                )
                .hint("make one with `builder mirror export DIR`, or by copying a cache directory")
        };
        if text.contains("://") {
            return Err(wrong("this kind of address is not supported"));
        }
        let path = Path::new(text);
        if !path.is_dir() {
            return Err(wrong("no such directory"));
        }
        if !["sha256", "sha512"].iter().any(|a| path.join(a).is_dir()) {
            return Err(wrong("this directory is not a mirror"));
        }
        Ok(Self::Directory(path.to_owned()))
    }
}

/// The result of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// Files the mirror now has of those the lockfile needs.
    pub files: usize,
    /// Their length in bytes.
    pub bytes: u64,
}

/// Copies everything the lockfile needs for these architectures, and nothing else, from the cache into a directory
/// that then is a mirror. `only` restricts it to the components named. Every file is verified on its way; those the
/// directory already has are left alone.
pub fn export(
    lockfile: &Lockfile,
    archs: &[Arch],
    only: &[Name],
    cache: &Cache,
    directory: &Path,
) -> Result<Exported> {
    let mut digests = BTreeSet::new();
    for &arch in archs {
        for (name, (component, artifacts)) in lockfile.select(arch, only)? {
            for artifact in artifacts {
                let digest = artifact.pinned(name)?;
                digests.insert(digest);
                if artifact.format.is_oci() {
                    let image = Image::read(cache, &digest, arch)
                        .about(|| format!("{name} {}", component.version))?;
                    digests.extend(image.parts().map(|part| part.digest));
                }
            }
        }
    }
    let mirror = Cache::at(directory);
    let mut exported = Exported::default();
    for digest in digests {
        exported.bytes += copy(&digest, cache, &mirror)?;
        exported.files += 1;
    }
    // A mirror has no use for it; it is not there if everything else was.
    let _ = fs_err::remove_dir(directory.join("tmp"));
    Ok(exported)
}

fn copy(digest: &Digest, cache: &Cache, mirror: &Cache) -> Result<u64> {
    if let Some(there) = mirror.find(digest)? {
        return Ok(there.metadata()?.len());
    }
    mirror.insert(digest, cache.open_verified(digest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_an_address_or_a_directory() {
        let url = Mirror::parse("https://mirror.example/u7s/").unwrap();
        assert_eq!(url, Mirror::Url("https://mirror.example/u7s".to_owned()));
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().to_str().unwrap();
        for (bad, why) in [
            ("ftp://mirror.example", "not supported"),
            ("/nonexistent/mirror", "no such directory"),
            (text, "not a mirror"),
        ] {
            let error = Mirror::parse(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            let shown = error.to_string();
            assert!(shown.contains(bad) && shown.contains(why), "{shown}");
            assert!(shown.contains("`builder mirror export DIR`"), "{shown}");
        }
        fs_err::create_dir(dir.path().join("sha256")).unwrap();
        let parsed = Mirror::parse(text).unwrap();
        assert_eq!(parsed, Mirror::Directory(dir.path().to_owned()));
    }
}
