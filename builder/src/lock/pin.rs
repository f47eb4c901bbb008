//! From a version to pins: digests and lengths as upstream publishes them, with why they are believed.
//!
//! Only small files are downloaded for this. To check a signature, the download itself is needed, too.

use std::io::Read;
use std::path::Path;

use stub::bundle::{Arch, Name, Version};
use stub::digest::Digest;
use stub::error::{Context, Error, Kind, Result};

use super::checksums;
use super::resolve::locked;
use super::signature;
use crate::cache;
use crate::http::{Failure, explained, refused};
use crate::lockfile::{Artifact, Evidence, LockedComponent};
use crate::recipe::{ArtifactRecipe, Check, Fill, Recipe};
use crate::source::{Asset, Place, Upstreams};

/// The hint for a download that upstream does not have.
const ABSENT: &str = "if upstream is still uploading the release, try again later; if upstream has renamed its files, change `urls` in the recipe";

/// A signed download is at most this many bytes long.
const CAP: u64 = 2 << 30;

/// Pins components.
pub(super) struct Pinner<'a> {
    pub(super) upstreams: &'a Upstreams<'a>,
    /// The recipes' directory, where their keyrings are.
    pub(super) recipes: &'a Path,
}

/// A digest of a download, and the source that states it.
struct Claim {
    digest: Digest,
    evidence: Evidence,
    by: String,
}

/// Why a download was not pinned.
enum Unpinned {
    /// Upstream has no such download.
    Absent(Error),
    /// Anything else.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Unpinned {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Pinner<'_> {
    /// A component at a version, for every architecture it exists for: the others have no downloads. `needed` are those it
    /// must exist for. A download of which upstream publishes no digest comes without one. Second: notes for the user.
    pub(super) fn pin(
        &self,
        name: &Name,
        recipe: &Recipe,
        version: &Version,
        needed: &[Arch],
    ) -> Result<(LockedComponent, Vec<String>)> {
        let mut component = locked(name, recipe, version, &Arch::ALL)?;
        let mut notes = Vec::new();
        let mut absent = Vec::new();
        for (arch, artifacts) in &mut component.artifacts {
            // An image is pinned as a whole.
            let whole = recipe.artifacts.iter().all(|a| a.format.is_oci());
            let about = if whole {
                format!("{name} {version}")
            } else {
                format!("{name} {version} ({arch})")
            };
            match self.artifacts(
                artifacts,
                recipe,
                &Fill {
                    version,
                    arch: *arch,
                },
            ) {
                Ok(told) => notes.extend(told.into_iter().map(|t| format!("{about}: {t}"))),
                Err(Unpinned::Failed(error)) => return Err(error.about(about)),
                Err(Unpinned::Absent(error)) if needed.contains(arch) => {
                    return Err(error.about(about).hint(format!(
                        "{ABSENT}; if it no longer exists for {arch}, run `builder lock --update {name}`"
                    )));
                }
                Err(Unpinned::Absent(error)) => {
                    artifacts.clear();
                    absent.push((*arch, error.about(about)));
                }
            }
        }
        let arches: Vec<&str> = component.arches().map(Arch::as_str).collect();
        for (arch, error) in absent {
            // If it exists for no architecture, the recipe is wrong, or upstream is still uploading the release.
            if arches.is_empty() {
                return Err(error.hint(ABSENT));
            }
            let only = arches.join(", ");
            notes.push(format!(
                "{}; locked for {only} only, not for {arch}",
                error.message()
            ));
        }
        Ok((component, notes))
    }

    /// Pins the downloads for one architecture. Gives notes for the user.
    fn artifacts(
        &self,
        artifacts: &mut [Artifact],
        recipe: &Recipe,
        fill: &Fill,
    ) -> Result<Vec<String>, Unpinned> {
        let mut notes = Vec::new();
        for (artifact, recipe) in artifacts.iter_mut().zip(&recipe.artifacts) {
            notes.extend(self.artifact(artifact, recipe, fill)?);
            if artifact.digest.is_none() {
                notes.push(format!(
                    "upstream publishes no digest of {}: it stays unpinned",
                    artifact.url()
                ));
            }
        }
        Ok(notes)
    }

    /// Pins a download. Gives the digests and signatures that upstream should have published and has not.
    fn artifact(
        &self,
        artifact: &mut Artifact,
        recipe: &ArtifactRecipe,
        fill: &Fill,
    ) -> Result<Vec<String>, Unpinned> {
        let url = artifact.url().to_owned();
        if recipe.format.is_oci() {
            let pulled = self.upstreams.pull(&url, &Arch::ALL)?;
            if let Some(lack) = pulled.lacks.get(&fill.arch) {
                return Err(Unpinned::Absent(lack.error().about(&url)));
            }
            artifact.digest = Some(pulled.digest);
            artifact.size = Some(pulled.size);
            artifact.evidence = vec![Evidence::RegistryDigest];
            return Ok(Vec::new());
        }
        let asset = self.asset(&url)?;
        artifact.size = match &asset {
            Some(asset) => Some(asset.size),
            None => self.upstreams.size(&url)?.map_err(Unpinned::Absent)?,
        };
        let mut checks = Vec::new();
        for check in &recipe.checks {
            checks.push(check.fill(fill, &url)?);
        }
        let mut missing = Vec::new();
        let mut claims = self.claims(&checks, &url, asset.as_ref(), &mut missing)?;
        agree(&claims, &url)?;
        let signed = checks
            .iter()
            .any(|c| matches!(c, Check::Minisign { .. } | Check::Openpgp { .. }));
        // Digests by different algorithms can only be compared by way of the file.
        let mixed = claims
            .iter()
            .any(|c| c.digest.algorithm() != claims[0].digest.algorithm());
        if signed || mixed {
            self.by_content(&checks, &url, &mut claims, &mut missing)?;
        }
        artifact.digest = claims.first().map(|c| c.digest);
        artifact.evidence = claims.into_iter().map(|c| c.evidence).collect();
        artifact.evidence.sort();
        artifact.evidence.dedup();
        Ok(missing)
    }

    /// GitHub's record of a download, if it is a release's file.
    fn asset(&self, url: &str) -> Result<Option<Asset>, Unpinned> {
        let Some(place) = Place::of(url) else {
            return Ok(None);
        };
        let (repository, tag) = (&place.repository, &place.tag);
        let Some(release) = self.upstreams.github_release(repository, tag)? else {
            return Ok(None);
        };
        let mut assets = release.assets.iter();
        let asset = assets.find(|a| a.name == place.file);
        if let Some(state) = asset.and_then(Asset::unfinished) {
            let error = Error::new(
                Kind::Input,
                format!(
                    "the upload of `{}` to the release {tag} is unfinished",
                    place.file
                ),
            )
            .expected("a file in the state `uploaded`")
            .found(format!("the state `{state}`"))
            .hint("try again later; if the state stays the same, ask upstream to upload the file again");
            return Err(Unpinned::Failed(error));
        }
        if asset.is_none() {
            let names: Vec<&str> = release.assets.iter().map(|a| a.name.as_str()).collect();
            let error = Error::new(Kind::Input, format!("the release {tag} has no such file"))
                .expected(place.file)
                .found(if names.is_empty() {
                    "no file at all".to_owned()
                } else {
                    names.join(", ")
                });
            return Err(Unpinned::Absent(error));
        }
        Ok(asset.cloned())
    }

    /// The digests that are stated without a look at the file.
    fn claims(
        &self,
        checks: &[Check],
        url: &str,
        asset: Option<&Asset>,
        missing: &mut Vec<String>,
    ) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for check in checks {
            match check {
                Check::Checksums { url: at } | Check::Sidecar { url: at } => {
                    let Some(document) = self.upstreams.document(at)? else {
                        missing.push(format!("there is no {at}"));
                        continue;
                    };
                    let sidecar = matches!(check, Check::Sidecar { .. });
                    claims.push(Claim {
                        digest: checksums::find(&document, url, sidecar).about(|| at)?,
                        evidence: Evidence::Checksums { url: at.clone() },
                        by: at.clone(),
                    });
                }
                Check::GithubDigest => match asset.map(Asset::digest).transpose()?.flatten() {
                    Some(digest) => claims.push(Claim {
                        digest,
                        evidence: Evidence::GithubDigest,
                        by: "GitHub's API".to_owned(),
                    }),
                    None if asset.is_none() => missing.push(format!(
                        "GitHub's API knows no release that {url} belongs to"
                    )),
                    None => missing.push("GitHub's API has no digest of it".to_owned()),
                },
                Check::Minisign { .. } | Check::Openpgp { .. } => {}
            }
        }
        Ok(claims)
    }

    /// Gets the file, compares it with the stated digests, and checks its signatures.
    fn by_content(
        &self,
        checks: &[Check],
        url: &str,
        claims: &mut Vec<Claim>,
        missing: &mut Vec<String>,
    ) -> Result<()> {
        let digest = self.download(url, claims)?;
        let file = self.upstreams.cache.path(&digest);
        let mut signatures = Vec::new();
        for check in checks {
            let (Check::Minisign { url: at, .. } | Check::Openpgp { url: at, .. }) = check else {
                continue;
            };
            let Some(signature) = self.upstreams.document(at)? else {
                missing.push(format!("there is no {at}"));
                continue;
            };
            let evidence = match check {
                Check::Openpgp { keyring, .. } => {
                    let keyring = self.recipes.join(keyring);
                    let key = signature::openpgp(&signature, &file, &keyring);
                    let (url, key) = (at.clone(), key.about(|| at)?);
                    Evidence::Openpgp { url, key }
                }
                Check::Minisign { key, .. } => {
                    signature::minisign(&signature, &file, key).about(|| at)?;
                    let (url, key) = (at.clone(), key.clone());
                    Evidence::Minisign { url, key }
                }
                _ => continue,
            };
            signatures.push(Claim {
                digest,
                evidence,
                by: at.clone(),
            });
        }
        claims.extend(signatures);
        Ok(())
    }

    /// Gets a file into the cache and compares it with all stated digests. Gives the digest it has there:
    /// the first that was stated, or else its SHA-256.
    fn download(&self, url: &str, claims: &[Claim]) -> Result<Digest> {
        let upstreams = self.upstreams;
        let cache = upstreams.cache;
        let known = claims.iter().map(|c| c.digest).find(|d| cache.contains(d));
        let got = if let Some(known) = known {
            known
        } else {
            let task = upstreams.progress.task(url, 0);
            let address = upstreams.endpoints.address(url);
            let attempt = || {
                let answer = upstreams.client.send(&address, &[])?;
                if answer.status() != 200 {
                    return Err(Failure::Final(refused(answer)));
                }
                let (digest, _) = cache.take_in(&mut answer.take(CAP))?;
                Ok(Digest::from(digest))
            };
            let got = upstreams.client.retrying(attempt);
            task.clear();
            got.map_err(|failure| explained(url, failure))?
        };
        for claim in claims {
            let mut hasher = claim.digest.hasher();
            cache::feed(&mut hasher, &mut cache.open_verified(&got)?)?;
            let found = hasher.finish();
            if found != claim.digest {
                return Err(Error::new(
                    Kind::Integrity,
                    "the download does not match the digest that upstream publishes",
                )
                .detail("url", url)
                .detail("said by", &claim.by)
                .expected(claim.digest)
                .found(found)
                .hint("try again from another network; if the result is the same, do not use the file, and tell upstream"));
            }
        }
        let Some(first) = claims.first() else {
            return Ok(got);
        };
        if !cache.contains(&first.digest) {
            cache.insert(&first.digest, cache.open_verified(&got)?)?;
        }
        Ok(first.digest)
    }
}

/// Checks that all sources with the same algorithm state the same digest.
fn agree(claims: &[Claim], url: &str) -> Result<()> {
    for (index, claim) in claims.iter().enumerate() {
        let other = claims[..index].iter().find(|other| {
            other.digest.algorithm() == claim.digest.algorithm() && other.digest != claim.digest
        });
        if let Some(other) = other {
            return Err(Error::new(
                Kind::Integrity,
                "two sources disagree about this download",
            )
            .detail("url", url)
            .detail("source", &other.by)
            .detail("says", other.digest)
            .detail("source", &claim.by)
            .detail("says", claim.digest)
            .hint("one of the two may have been tampered with: tell upstream, and do not use the file"));
        }
    }
    Ok(())
}
