//! The recipes of the release, against upstreams that publish what the real ones do, at the same addresses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use builder::lock::check;
use builder::lockfile::{Evidence, Lockfile};
use builder::recipe::{Check, Fill, Recipe, VersionSource};
use stub::bundle::{Arch, Name, Version};
use stub::digest::Sha256;

use crate::registry;
use crate::world::{Release, World, sums};
use support::server::Behaviour;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
}

/// The next version the recipe takes, or the same if it takes no other.
fn next(recipe: &Recipe, version: &Version) -> Version {
    let (head, last) = version.as_str().rsplit_once('.').unwrap();
    let next = Version::new(format!("{head}.{}", last.parse::<u32>().unwrap() + 1)).unwrap();
    if recipe.version.allows(&next) {
        next
    } else {
        version.clone()
    }
}

/// Publishes a version of a component as its upstream does.
fn publish(world: &World, recipe: &Recipe, version: &Version) {
    let tag = recipe
        .version
        .tag()
        .unwrap()
        .replace("{version}", version.as_str());
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut lists: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for arch in Arch::ALL {
        let fill = Fill { version, arch };
        for artifact in recipe.artifacts.iter().filter(|a| !a.format.is_oci()) {
            let url = fill.apply(&artifact.urls[0]).unwrap();
            let name = url.rsplit('/').next().unwrap().to_owned();
            let content = format!("the bytes of {url}").into_bytes();
            for check in &artifact.checks {
                match check.fill(&fill, &url).unwrap() {
                    Check::Sidecar { url: at } => {
                        let sum = Sha256::of(&content).to_string();
                        // Kubernetes and cri-tools publish the digest alone.
                        let bare = url.contains("dl.k8s.io") || url.contains("cri-tools");
                        let text = if bare {
                            sum
                        } else {
                            format!("{sum}  {name}\n")
                        };
                        files.insert(at, text.into_bytes());
                    }
                    Check::Checksums { url: at } => {
                        let list = lists.entry(at).or_default();
                        list.push((name.clone(), content.clone()));
                    }
                    _ => {}
                }
            }
            files.insert(url, content);
        }
    }
    for (at, list) in lists {
        let list: Vec<(&str, &[u8])> = list
            .iter()
            .map(|(n, c)| (n.as_str(), c.as_slice()))
            .collect();
        let mut text = sums(&list);
        if at.contains("opencontainers/runc") {
            let signed = [
                b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".as_slice(),
                &text,
                b"-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n",
            ];
            text = signed.concat();
        }
        files.insert(at, text);
    }
    for (url, content) in &files {
        let date = "Thu, 01 Oct 2026 09:30:00 GMT".to_owned();
        let script = [Behaviour::With(vec![("Last-Modified", date)])];
        world.route(url, content, script);
    }
    match &recipe.version {
        VersionSource::Github { repository, .. } => {
            let assets: Vec<(&str, &[u8])> = files
                .iter()
                .map(|(url, content)| (url.rsplit('/').next().unwrap(), content.as_slice()))
                .collect();
            let mut preview = Release::new("v99.0.0-rc.1", &[]);
            preview.prerelease = true;
            world.releases(repository, &[preview, Release::new(&tag, &assets)]);
        }
        VersionSource::Text { url, .. } => {
            world.put(url, format!("{tag}\n").as_bytes());
        }
        VersionSource::Registry { image, .. } => {
            // Docker Hub answers at another name than its images have.
            let image = image.replace("docker.io/", "registry-1.docker.io/");
            let base = format!("/v2/{image}");
            registry::tags(world, &base, &["latest", &tag]);
            registry::publish(world, &base, &tag, &["amd64", "arm64", "ppc64le"]);
        }
        VersionSource::Debian { .. } => panic!("a recipe of the release from Debian"),
    }
}

#[test]
fn the_release_can_be_updated() {
    let mut world = World::new();
    world.read_recipes(&path("recipes"));
    let mut old = Lockfile::read(&path("lockfile.json")).unwrap();
    let mut expected: BTreeMap<Name, Version> = BTreeMap::new();
    for (name, recipe) in world.recipes() {
        // A recipe that is not locked yet takes one version only.
        let locked = old.components.get(name).map_or_else(
            || {
                let only = recipe.version.allow().unwrap().to_string();
                Version::new(only.trim_start_matches('=')).unwrap()
            },
            |component| component.version.clone(),
        );
        let version = next(recipe, &locked);
        publish(&world, recipe, &version);
        if version == locked {
            // Its made-up bytes are not those that are locked.
            old.components.remove(name);
        }
        expected.insert(name.clone(), version);
    }
    let updated = world.update(&old).unwrap();
    let undated = "release date unknown: coredns-image, flannel, local-path-provisioner-image, metrics-server-image, pause-image";
    assert_eq!(updated.notes, [undated]);
    let versions = updated.lockfile.components.iter();
    let versions: BTreeMap<Name, Version> = versions
        .map(|(n, c)| (n.clone(), c.version.clone()))
        .collect();
    assert_eq!(versions, expected);

    updated.lockfile.check().unwrap();
    let report = check::check(world.recipes(), &updated.lockfile).unwrap();
    report.verdict().unwrap();
    assert_eq!(report.notes, [], "a size is missing");
    for (name, component) in &updated.lockfile.components {
        for artifact in component.artifacts.values().flatten() {
            let from_records = |e: &Evidence| matches!(e, Evidence::Records { .. });
            assert!(!artifact.evidence.iter().any(from_records), "{name}");
            let recipe = &world.recipes()[name];
            let wanted = recipe.artifacts[0].checks.len().max(1);
            assert_eq!(artifact.evidence.len(), wanted, "{name}");
        }
    }
    // Once more, and nothing changes; nor is anything newer.
    assert_eq!(
        world.update(&updated.lockfile).unwrap().lockfile,
        updated.lockfile
    );
    assert_eq!(world.newer(&updated.lockfile).unwrap(), []);
    assert_eq!(world.newer(&old).unwrap().len(), expected.len());
    // What can be held against the list of upstreams: nobody else was asked, and nobody twice at a time.
    let hosts = [
        "api.github.com",
        "dl.k8s.io",
        "github.com",
        "storage.googleapis.com",
        "v2",
    ];
    for request in world.server.requests() {
        let host = request.path.split('/').nth(1).unwrap();
        assert!(hosts.contains(&host), "{}", request.path);
    }
    assert_eq!(world.server.most_active(), 1);
}
