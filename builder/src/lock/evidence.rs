//! How strong the evidence for a pin is, and whether an update would weaken it.

use std::collections::BTreeMap;

use stub::bundle::{Arch, Name};
use stub::error::{Error, Kind, Result};

use crate::lockfile::{Artifact, Evidence, LockedComponent};

/// The rank of a kind of evidence (a higher rank is stronger) and its word in the lockfile.
fn sort(evidence: &Evidence) -> (u8, &'static str) {
    match evidence {
        Evidence::Records { .. } => (1, "records"),
        Evidence::GithubDigest => (2, "github-digest"),
        Evidence::RegistryDigest => (3, "registry-digest"),
        Evidence::Checksums { .. } => (4, "checksums"),
        Evidence::InRelease { .. } => (5, "in-release"),
        Evidence::Minisign { .. } => (6, "minisign"),
        Evidence::Openpgp { .. } => (7, "openpgp"),
    }
}

/// The kinds of evidence of a pin, the strongest first, each once. Nothing for a download without a digest. Records
/// of third parties count only where there is nothing else: upstream's own word makes them superfluous.
fn strength(artifact: &Artifact) -> Vec<(u8, &'static str)> {
    if artifact.digest.is_none() {
        return Vec::new();
    }
    let mut sorts: Vec<_> = artifact.evidence.iter().map(sort).collect();
    sorts.sort_unstable();
    sorts.reverse();
    sorts.dedup();
    if sorts.len() > 1 {
        sorts.retain(|(strength, _)| *strength > 1);
    }
    sorts
}

/// The evidence for an artifact, in words.
fn words(artifact: &Artifact) -> String {
    let sorts = strength(artifact);
    match (artifact.digest, sorts.is_empty()) {
        (None, _) => "unpinned".to_owned(),
        (Some(_), true) => "none".to_owned(),
        _ => {
            let names: Vec<&str> = sorts.iter().map(|(_, name)| *name).collect();
            names.join(", ")
        }
    }
}

/// The evidence for a component: that of its weakest download.
pub(super) fn describe(component: &LockedComponent) -> String {
    let all = component.artifacts.values().flatten();
    all.min_by_key(|a| strength(a))
        .map_or_else(|| "none".to_owned(), words)
}

/// Refuses a pin with weaker evidence than the pin it would replace.
pub(super) fn require_no_weaker(
    name: &Name,
    old: &LockedComponent,
    new: &LockedComponent,
) -> Result<()> {
    for (arch, old, new) in pairs(&old.artifacts, &new.artifacts) {
        if strength(new) < strength(old) {
            return Err(Error::new(
                Kind::Integrity,
                format!("{name}: the evidence for the new pin is weaker than for the old one"),
            )
            .detail("for", arch)
            .detail("url", new.url())
            .detail("old", words(old))
            .detail("new", words(new))
            .hint("find out why upstream publishes less than before; to take the new pin all the same, add `--allow-weaker-evidence`"));
        }
    }
    Ok(())
}

/// The downloads of two entries that correspond to each other.
pub(super) fn pairs<'a>(
    old: &'a BTreeMap<Arch, Vec<Artifact>>,
    new: &'a BTreeMap<Arch, Vec<Artifact>>,
) -> impl Iterator<Item = (Arch, &'a Artifact, &'a Artifact)> {
    old.iter().flat_map(|(arch, old)| {
        let new = new.get(arch).into_iter().flatten();
        old.iter().zip(new).map(|(old, new)| (*arch, old, new))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Format;
    use stub::digest::Sha256;

    fn artifact(evidence: &[Evidence]) -> Artifact {
        Artifact {
            digest: Some(Sha256::of(b"x").into()),
            evidence: evidence.to_vec(),
            files: Vec::new(),
            format: Format::Plain,
            links: Vec::new(),
            size: None,
            urls: vec!["https://example.org/1/x".to_owned()],
        }
    }

    fn checksums() -> Evidence {
        let url = "https://example.org/1/SHA256SUMS".to_owned();
        Evidence::Checksums { url }
    }

    fn records() -> Evidence {
        let (tier, from) = ("A".to_owned(), Vec::new());
        Evidence::Records { tier, from }
    }

    #[test]
    fn evidence_has_an_order() {
        let unpinned = Artifact {
            digest: None,
            ..artifact(&[])
        };
        let ascending = [
            unpinned,
            artifact(&[records()]),
            artifact(&[Evidence::GithubDigest]),
            artifact(&[Evidence::RegistryDigest]),
            artifact(&[checksums()]),
            artifact(&[Evidence::GithubDigest, checksums()]),
        ];
        for pair in ascending.windows(2) {
            assert!(strength(&pair[0]) < strength(&pair[1]), "{pair:?}");
        }
        let both = artifact(&[records(), Evidence::GithubDigest]);
        assert_eq!(strength(&both), strength(&ascending[2]));
    }

    #[test]
    fn the_order_is_that_of_the_lockfile() {
        let (url, key) = (String::new(), String::new());
        let all = [
            records(),
            Evidence::GithubDigest,
            Evidence::RegistryDigest,
            checksums(),
            Evidence::InRelease {
                suite: String::new(),
                key: String::new(),
            },
            Evidence::Minisign {
                url: url.clone(),
                key: key.clone(),
            },
            Evidence::Openpgp { url, key },
        ];
        for pair in all.windows(2) {
            assert!(pair[0] < pair[1] && sort(&pair[0]).0 < sort(&pair[1]).0);
            let json = serde_json::to_value(&pair[1]).unwrap();
            assert_eq!(json["kind"], sort(&pair[1]).1);
        }
    }
}
