//! The recipes and the lockfile of the release, as they stand in the repository.

use std::path::PathBuf;

use builder::lock::check;
use builder::lockfile::{Evidence, Lockfile};
use builder::recipe;
use stub::bundle::{Arch, Name};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
}

#[test]
fn the_lockfile_is_in_its_one_form() {
    let text = fs_err::read_to_string(path("lockfile.json")).unwrap();
    let lockfile = Lockfile::parse(&text).unwrap();
    assert!(
        lockfile.to_text().unwrap() == text,
        "run `builder lock --update`, or sort it by hand"
    );
}

/// Recipes whose downloads could not be reached when they were written. `builder lock --update NAME` pins one; it must then be
/// removed here. Until then, bundles are built without it, and clusters go without what it is for.
const NOT_PINNED_YET: [&str; 2] = ["local-path-provisioner-image", "metrics-server-image"];

#[test]
fn the_recipes_and_the_lockfile_agree() {
    let mut recipes = recipe::read_all(&path("recipes")).unwrap();
    let lockfile = Lockfile::read(&path("lockfile.json")).unwrap();
    for name in NOT_PINNED_YET {
        let name = Name::new(name).unwrap();
        assert!(recipes.remove(&name).is_some(), "{name}");
        assert!(!lockfile.components.contains_key(&name), "{name} is pinned");
    }
    let report = check::check(&recipes, &lockfile).unwrap();
    assert!(report.verdict().is_ok(), "{report}");
}

#[test]
fn the_release_is_complete_for_both_architectures() {
    let lockfile = Lockfile::read(&path("lockfile.json")).unwrap();
    let wanted = [
        "bin/conmon",
        "bin/containerd",
        "bin/containerd-fuse-overlayfs-grpc",
        "bin/containerd-shim-runc-v2",
        "bin/crictl",
        "bin/crio",
        "bin/crun",
        "bin/ctr",
        "bin/etcd",
        "bin/etcdctl",
        "bin/etcdutl",
        "bin/flanneld",
        "bin/fuse-overlayfs",
        "bin/kube-apiserver",
        "bin/kube-controller-manager",
        "bin/kube-proxy",
        "bin/kube-scheduler",
        "bin/kubectl",
        "bin/kubelet",
        "bin/pinns",
        "bin/rootlessctl",
        "bin/rootlesskit",
        "bin/runc",
        "bin/slirp4netns",
        "images/coredns",
        "images/pause",
        "libexec/cni/bridge",
        "libexec/cni/host-local",
        "libexec/cni/loopback",
        "libexec/cni/portmap",
        "libexec/host/conntrack",
        "libexec/host/ethtool",
        "libexec/host/ip",
        "libexec/host/nft",
        "libexec/host/nsenter",
        "libexec/host/xtables-legacy-multi",
        "libexec/host/xtables-nft-multi",
    ];
    for arch in Arch::ALL {
        let selected = lockfile.select(arch, &[]).unwrap();
        let artifacts = selected
            .values()
            .flat_map(|(_, artifacts)| artifacts.iter());
        let mut files: Vec<_> = artifacts
            .flat_map(|a| a.files.iter().map(|f| f.to.as_str()))
            .collect();
        files.sort_unstable();
        assert_eq!(files, wanted, "{arch}");
    }
}

#[test]
fn every_pin_rests_on_the_upstream_or_on_two_records() {
    let lockfile = Lockfile::read(&path("lockfile.json")).unwrap();
    for (name, component) in &lockfile.components {
        for artifact in component.artifacts.values().flatten() {
            assert!(
                artifact.digest.is_none() || !artifact.evidence.is_empty(),
                "{name}"
            );
            for evidence in &artifact.evidence {
                let weak = matches!(evidence, Evidence::Records { tier, .. } if tier != "A" && tier != "B");
                assert!(!weak, "{name}: {evidence:?}");
            }
        }
    }
}

#[test]
fn kubernetes_is_one_family() {
    let lockfile = Lockfile::read(&path("lockfile.json")).unwrap();
    let family = Name::new("kubernetes").unwrap();
    let members = lockfile
        .components
        .iter()
        .filter(|(_, c)| c.family == family);
    assert_eq!(
        members.map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet"
        ]
    );
}

#[test]
fn every_licence_that_occurs_has_a_text() {
    let mut licenses: Vec<(String, String)> = Vec::new();
    for directory in ["recipes", "tests/debian/recipes", "tests/debian/registry"] {
        for (name, recipe) in recipe::read_all(&path(directory)).unwrap() {
            licenses.push((name.to_string(), recipe.license));
        }
    }
    let lockfile = Lockfile::read(&path("lockfile.json")).unwrap();
    for (name, component) in lockfile.components {
        licenses.push((name.to_string(), component.license));
    }
    for (name, license) in licenses {
        for id in stub::licenses::identifiers(&license) {
            assert!(stub::licenses::text(id).is_some(), "{name}: {id}");
        }
    }
}
