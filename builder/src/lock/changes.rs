//! The changes of the lockfile, as a table.

use std::collections::BTreeSet;

use serde::Serialize;
use stub::bundle::{Name, Version};
use stub::digest::Digest;
use stub::progress::bytes;

use super::evidence;
use crate::lockfile::{Artifact, LockedComponent, Lockfile};

/// How a component changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: Name,
    /// Its version before; absent when it is new.
    pub old: Option<Version>,
    /// Its version now; absent when it is gone.
    pub new: Option<Version>,
    /// Bytes to download before, for all architectures, where all are known.
    pub old_size: Option<u64>,
    /// Bytes to download now, likewise.
    pub size: Option<u64>,
    /// Why the old pins were believed: the evidence of the weakest.
    pub old_evidence: Option<String>,
    /// Why the pins are believed now, likewise.
    pub evidence: Option<String>,
    /// Whether a download has another digest although its address and version are unchanged.
    pub other_bytes: bool,
    /// Whether anything at all is different.
    pub changed: bool,
}

/// Every component of both lockfiles, in order.
#[must_use]
pub fn changes(old: &Lockfile, new: &Lockfile) -> Vec<Change> {
    let all: BTreeSet<&Name> = old.components.keys().chain(new.components.keys()).collect();
    let change = |name: &Name| {
        let (old, new) = (old.components.get(name), new.components.get(name));
        Change {
            name: name.clone(),
            old: old.map(|c| c.version.clone()),
            new: new.map(|c| c.version.clone()),
            old_size: old.and_then(download_size),
            size: new.and_then(download_size),
            old_evidence: old.map(evidence::describe),
            evidence: new.map(evidence::describe),
            other_bytes: old.zip(new).is_some_and(|(old, new)| other_bytes(old, new)),
            changed: old != new,
        }
    };
    all.into_iter().map(change).collect()
}

fn other_bytes(old: &LockedComponent, new: &LockedComponent) -> bool {
    old.version == new.version
        && evidence::pairs(&old.artifacts, &new.artifacts)
            .any(|(_, old, new)| replaced(old, new).is_some())
}

/// The two digests of a download whose bytes changed at the same address.
pub(super) fn replaced(old: &Artifact, new: &Artifact) -> Option<(Digest, Digest)> {
    let (before, now) = (old.digest?, new.digest?);
    let comparable = before.algorithm() == now.algorithm() && old.urls == new.urls;
    (comparable && before != now).then_some((before, now))
}

/// The bytes of all downloads of a component, if each one's size is known.
fn download_size(component: &LockedComponent) -> Option<u64> {
    let artifacts = component.artifacts.values().flatten();
    artifacts.map(|a| a.size).sum()
}

/// The changes as a table for people. Unchanged components are only counted.
#[must_use]
pub fn table(changes: &[Change]) -> String {
    let mut rows = vec![["component", "version", "size", "evidence"].map(str::to_owned)];
    for c in changes.iter().filter(|c| c.changed) {
        let version = |v: &Option<Version>| v.as_ref().map(Version::to_string);
        let other = if c.other_bytes { " (other bytes)" } else { "" };
        rows.push([
            c.name.to_string(),
            arrow(version(&c.old), version(&c.new)) + other,
            size(c),
            arrow(c.old_evidence.clone(), c.evidence.clone()),
        ]);
    }
    let same = changes.iter().filter(|c| !c.changed).count();
    let count = format!("{} changed, {same} as before\n", changes.len() - same);
    if rows.len() == 1 {
        return count;
    }
    stub::table::table(&rows, &[]) + &count
}

/// `old → new`, or the one if both are the same.
fn arrow(old: Option<String>, new: Option<String>) -> String {
    if old == new {
        return new.unwrap_or_default();
    }
    let shown = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
    format!("{} → {}", shown(old), shown(new))
}

/// By how much the size grew or shrank, or the size now if the old one is unknown.
fn size(change: &Change) -> String {
    match (change.old_size, change.size) {
        (Some(old), Some(new)) if new >= old => format!("+{}", bytes(new - old)),
        (Some(old), Some(new)) => format!("-{}", bytes(old - new)),
        (None, Some(new)) if change.old.is_none() => format!("+{}", bytes(new)),
        (Some(old), None) if change.new.is_none() => format!("-{}", bytes(old)),
        (None, Some(new)) => format!("? → {}", bytes(new)),
        (_, None) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::Evidence;
    use crate::recipe::Format;
    use stub::bundle::Arch;
    use stub::digest::Sha256;

    fn component(version: &str, size: Option<u64>, evidence: Evidence) -> LockedComponent {
        let artifact = Artifact {
            digest: Some(Sha256::of(version.as_bytes()).into()),
            evidence: vec![evidence],
            files: Vec::new(),
            format: Format::Plain,
            links: Vec::new(),
            size,
            urls: vec![format!("https://example.org/{version}")],
        };
        LockedComponent {
            artifacts: [(Arch::X86_64, vec![artifact])].into(),
            family: Name::new("etcd").unwrap(),
            homepage: String::new(),
            license: "Apache-2.0".to_owned(),
            version: Version::new(version).unwrap(),
        }
    }

    fn lockfile(components: &[(&str, &LockedComponent)]) -> Lockfile {
        let mut lockfile = Lockfile::new();
        for (name, component) in components {
            let name = Name::new(*name).unwrap();
            lockfile.components.insert(name, (*component).clone());
        }
        lockfile
    }

    #[test]
    fn what_changed_is_a_table() {
        let records = || Evidence::Records {
            tier: "A".to_owned(),
            from: Vec::new(),
        };
        let checksums = || Evidence::Checksums { url: String::new() };
        let mut same = component("1.4", Some(5), checksums());
        same.license = "MIT".to_owned();
        let old = lockfile(&[
            ("etcd", &component("3.5.0", None, records())),
            ("crun", &component("1.28", Some(3_000_000), checksums())),
            ("gone", &same),
            ("runc", &same),
        ]);
        let new = lockfile(&[
            ("etcd", &component("3.6.14", Some(48_000_000), checksums())),
            (
                "crun",
                &component("1.29", Some(2_500_000), Evidence::GithubDigest),
            ),
            (
                "kubelet",
                &component("1.36.3", Some(60_000_000), checksums()),
            ),
            ("runc", &same),
        ]);
        insta::assert_snapshot!(table(&changes(&old, &new)), @r"
        component  version         size         evidence
        crun       1.28 → 1.29     -500.0 kB    checksums → github-digest
        etcd       3.5.0 → 3.6.14  ? → 48.0 MB  records → checksums
        gone       1.4 → –         -5 B         checksums → –
        kubelet    – → 1.36.3      +60.0 MB     – → checksums
        4 changed, 1 as before
        ");
        insta::assert_snapshot!(table(&changes(&new, &new)), @"0 changed, 4 as before");
        let mut again = new.clone();
        for component in again.components.values_mut() {
            let artifacts = component.artifacts.get_mut(&Arch::X86_64).unwrap();
            if component.license == "MIT" {
                artifacts[0].digest = Some(Sha256::of(b"other").into());
            }
        }
        insta::assert_snapshot!(table(&changes(&new, &again)), @r"
        component  version            size  evidence
        runc       1.4 (other bytes)  +0 B  checksums
        1 changed, 3 as before
        ");
    }
}
