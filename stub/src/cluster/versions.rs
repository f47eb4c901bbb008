//! The versions that a cluster's data depends on, and the order in which they may follow each other.

use serde::{Deserialize, Serialize};

use crate::bundle::Manifest;
use crate::error::{Error, Kind, Result};

/// Versions of the programs that write a cluster's data. A text is empty if the program is missing or its version unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// The API server's version, for example `1.36.2`.
    pub kubernetes: String,
    /// etcd's version.
    pub etcd: String,
}

impl Versions {
    /// Those of a bundle.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let version = |program: &str| {
            let path = format!("bin/{program}");
            let has = |c: &&crate::bundle::Component| {
                c.files.iter().any(|f| f.path.as_str() == path)
                    || c.links.iter().any(|l| l.path.as_str() == path)
            };
            let component = manifest.components.iter().find(has);
            component.map_or_else(String::new, |c| c.version.to_string())
        };
        Self {
            kubernetes: version("kube-apiserver"),
            etcd: version("etcd"),
        }
    }

    /// Fails if data of these versions must not be given to programs of `next`: they are older, or they skip a minor version
    /// of Kubernetes, whose objects may be stored in a form that the later one no longer reads (Kubernetes documentation,
    /// "Version Skew Policy"). Versions that are not known are not compared.
    pub fn check_upgrade(&self, next: &Self) -> Result<()> {
        for (name, old, new) in [
            ("Kubernetes", &self.kubernetes, &next.kubernetes),
            ("etcd", &self.etcd, &next.etcd),
        ] {
            let (Some(before), Some(after)) = (numbers(old), numbers(new)) else {
                continue;
            };
            let refused = |reason: &str, expected: String, hint: &str| {
                let error = Error::new(Kind::Usage, format!("the bundle's {name} {reason}"));
                Err(error.expected(expected).found(new).hint(hint))
            };
            if after < before {
                return refused(
                    "is older than the one that the cluster's data was written with",
                    format!("{old} or later"),
                    "run `usernetes rollback` to return to the release that was installed before; `--force` installs this one over the present data, which it may not be able to read",
                );
            }
            if name == "Kubernetes" && (after.0, after.1) > (before.0, before.1 + 1) {
                return refused(
                    "skips a minor version",
                    format!("{}.{} or {}.{}", before.0, before.1, before.0, before.1 + 1),
                    "install a release with the minor version between them first; `--force` skips it, and objects that were never rewritten may become unreadable",
                );
            }
        }
        Ok(())
    }

    /// Whether etcd of `other` cannot read data that etcd of these versions has written: it refuses data of a later minor
    /// version (etcd documentation, "Downgrading").
    #[must_use]
    pub fn etcd_is_newer_than(&self, other: &Self) -> bool {
        match (numbers(&self.etcd), numbers(&other.etcd)) {
            (Some(here), Some(there)) => (here.0, here.1) > (there.0, there.1),
            _ => false,
        }
    }
}

/// The three numbers at the beginning of a version; those of distributions have more after them.
fn numbers(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let digits = part.find(|c: char| !c.is_ascii_digit());
        part[..digits.unwrap_or(part.len())].parse().ok()
    };
    Some((number()?, number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(kubernetes: &str, etcd: &str) -> Versions {
        Versions {
            kubernetes: kubernetes.to_owned(),
            etcd: etcd.to_owned(),
        }
    }

    #[test]
    fn one_minor_version_after_the_other() {
        let here = versions("1.36.2", "3.5.30-1+b2");
        for (kubernetes, etcd) in [
            ("1.36.2", "3.5.30"),
            ("1.36.9", "3.6.1"),
            ("v1.37.0", "3.5.31"),
            ("", ""),
            ("rolling", "3.5.30"),
        ] {
            here.check_upgrade(&versions(kubernetes, etcd)).unwrap();
        }
        let refused = |kubernetes, etcd| {
            let error = here.check_upgrade(&versions(kubernetes, etcd));
            error.unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused("1.36.1", "3.5.30"), @"
        the bundle's Kubernetes is older than the one that the cluster's data was written with
          expected  1.36.2 or later
          found     1.36.1

        hint: run `usernetes rollback` to return to the release that was installed before; `--force` installs this one over the present data, which it may not be able to read
        ");
        insta::assert_snapshot!(refused("1.38.0", "3.6.0"), @"
        the bundle's Kubernetes skips a minor version
          expected  1.36 or 1.37
          found     1.38.0

        hint: install a release with the minor version between them first; `--force` skips it, and objects that were never rewritten may become unreadable
        ");
        let older = refused("1.37.0", "3.5.29");
        assert!(older.starts_with("the bundle's etcd is older"), "{older}");
    }

    #[test]
    fn etcd_reads_data_of_its_own_minor_version_and_of_earlier_ones() {
        let newer = |here, there| versions("", here).etcd_is_newer_than(&versions("", there));
        assert!(newer("3.6.0", "3.5.30"));
        assert!(!newer("3.5.30", "3.5.2"));
        assert!(!newer("3.5.30", "3.6.0"));
        assert!(!newer("", "3.6.0"));
    }
}
