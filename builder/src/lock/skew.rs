//! Which versions go together with a version of Kubernetes.
//!
//! The limits are those of Kubernetes's version skew policy (`kubernetes.io/releases/version-skew-policy`) and, for
//! CRI-O and crictl, that each of their minor versions is made for the same one of Kubernetes. For
//! components with another numbering (etcd, CoreDNS, pause), the constraint in the recipe decides.

use std::collections::BTreeMap;

use stub::bundle::{Name, Version};
use stub::error::{Error, Kind, Result};

use crate::lockfile::{LockedComponent, Lockfile};
use crate::recipe::{Recipe, comparable};

/// The component that the others are measured by.
const SERVER: &str = "kube-apiserver";

/// How many minor versions a component may be behind the API server, and how many ahead of it.
const LIMITS: [(&str, u64, u64); 7] = [
    ("kube-controller-manager", 1, 0),
    ("kube-scheduler", 1, 0),
    ("kubelet", 3, 0),
    ("kube-proxy", 3, 0),
    ("kubectl", 1, 1),
    ("cri-o", 0, 0),
    ("crictl", 0, 0),
];

/// By the constraint in the recipe.
const BY_RECIPE: [&str; 3] = ["etcd", "coredns-image", "pause-image"];

/// Whether the components of a lockfile go together. The error names the two that do not.
pub(super) fn check(lockfile: &Lockfile, recipes: &BTreeMap<Name, Recipe>) -> Result<()> {
    let Some(server) = find(lockfile, SERVER) else {
        return Ok(());
    };
    for name in BY_RECIPE {
        let recipe = recipes.iter().find(|(n, _)| n.as_str() == name);
        if let (Some((_, recipe)), Some(component)) = (recipe, find(lockfile, name))
            && let Some(allow) = recipe.version.allow()
            && !recipe.version.allows(&component.version)
        {
            return Err(apart(name, &component.version, &server.version)
                .expected(format!("{name} {allow}, as its recipe says")));
        }
    }
    let Some((major, minor)) = numbers(&server.version) else {
        return Ok(());
    };
    for (name, behind, ahead) in LIMITS {
        let Some(component) = find(lockfile, name) else {
            continue;
        };
        let Some(found) = numbers(&component.version) else {
            continue;
        };
        let (first, last) = (minor.saturating_sub(behind), minor + ahead);
        if found.0 == major && (first..=last).contains(&found.1) {
            continue;
        }
        let expected = if first == last {
            format!("{name} {major}.{minor}")
        } else {
            format!("{name} {major}.{first} to {major}.{last}")
        };
        return Err(apart(name, &component.version, &server.version).expected(expected));
    }
    Ok(())
}

fn apart(name: &str, version: &Version, server: &Version) -> Error {
    Error::new(
        Kind::Input,
        format!("{name} {version} and {SERVER} {server} do not go together"),
    )
    .hint("change `allow` in their recipes so that the two versions go together, then update both")
}

fn find<'a>(lockfile: &'a Lockfile, name: &str) -> Option<&'a LockedComponent> {
    let mut all = lockfile.components.iter();
    all.find(|(n, _)| n.as_str() == name).map(|(_, c)| c)
}

/// Major and minor.
fn numbers(version: &Version) -> Option<(u64, u64)> {
    comparable(version).map(|v| (v.major, v.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pairs: &[(&str, &str)], recipes: &BTreeMap<Name, Recipe>) -> Result<()> {
        let mut lockfile = Lockfile::new();
        for (name, version) in pairs {
            let name = Name::new(*name).unwrap();
            let component = LockedComponent {
                artifacts: BTreeMap::new(),
                family: name.clone(),
                homepage: String::new(),
                license: String::new(),
                version: Version::new(*version).unwrap(),
            };
            lockfile.components.insert(name, component);
        }
        check(&lockfile, recipes)
    }

    #[test]
    fn the_policy_of_kubernetes() {
        let with = |name: &str, version: &str| {
            checked(
                &[("kube-apiserver", "1.36.3"), (name, version)],
                &BTreeMap::new(),
            )
        };
        for (name, version) in [
            ("kubelet", "1.33.9"),
            ("kubelet", "1.36.9"),
            ("kube-proxy", "1.33.0"),
            ("kube-scheduler", "1.35.0"),
            ("kubectl", "1.35.0"),
            ("kubectl", "1.37.0"),
            ("cri-o", "1.36.0"),
            ("crictl", "1.36.0"),
            ("etcd", "9.9.9"),
            ("containerd", "2.3.4"),
        ] {
            with(name, version).unwrap();
        }
        for (name, version) in [
            ("kubelet", "1.37.0"),
            ("kubelet", "1.32.9"),
            ("kubelet", "2.36.0"),
            ("kube-scheduler", "1.34.0"),
            ("kubectl", "1.38.0"),
            ("cri-o", "1.35.4"),
            ("crictl", "1.37.0"),
        ] {
            let error = with(name, version).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{name} {version} and kube-apiserver 1.36.3")),
                "{error}"
            );
        }
        insta::assert_snapshot!(with("cri-o", "1.37.0").unwrap_err(), @r"
        cri-o 1.37.0 and kube-apiserver 1.36.3 do not go together
          expected  cri-o 1.36

        hint: change `allow` in their recipes so that the two versions go together, then update both
        ");
        // Without Kubernetes there is nothing to be measured by.
        checked(
            &[("kubelet", "1.20.0"), ("cri-o", "1.36.0")],
            &BTreeMap::new(),
        )
        .unwrap();
    }

    #[test]
    fn what_is_numbered_otherwise_goes_by_its_recipe() {
        let recipe = Recipe::parse(
            r#"
            summary = "the database"
            homepage = "https://etcd.io"
            license = "Apache-2.0"
            version = { from = "github", repository = "etcd-io/etcd", tag = "v{version}", allow = "~3.6" }
            [[artifact]]
            urls = ["https://example.org/{version}"]
            format = "plain"
            file = [{ to = "bin/etcd" }]
            "#,
        )
        .unwrap();
        let recipes = BTreeMap::from([(Name::new("etcd").unwrap(), recipe)]);
        checked(&[("kube-apiserver", "1.36.3"), ("etcd", "3.6.1")], &recipes).unwrap();
        let error = checked(&[("kube-apiserver", "1.36.3"), ("etcd", "3.7.0")], &recipes);
        insta::assert_snapshot!(error.unwrap_err(), @r"
        etcd 3.7.0 and kube-apiserver 1.36.3 do not go together
          expected  etcd ~3.6, as its recipe says

        hint: change `allow` in their recipes so that the two versions go together, then update both
        ");
    }
}
