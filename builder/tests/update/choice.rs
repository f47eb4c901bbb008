//! Which version is taken, and what goes together.

use builder::lockfile::Lockfile;

use crate::world::{World, sums};
use crate::{CHECKSUMS, GITHUB, REPOSITORY, release, version, world};
use support::server::Behaviour;

/// A recipe of Kubernetes, or of something that is announced in the same way.
const KUBERNETES: &str = r#"
summary = "a part of Kubernetes"
homepage = "https://kubernetes.io"
license = "Apache-2.0"
version = { from = "text", url = "https://dl.k8s.io/release/stable-1.36.txt", tag = "v{version}", allow = "~1.36" }

[[artifact]]
urls = ["https://dl.k8s.io/release/v{version}/bin/linux/{goarch}/NAME"]
format = "plain"
checks = [{ by = "sidecar", url = "{url}.sha256" }]
file = [{ to = "bin/NAME" }]
"#;

fn kubernetes(names: &[&str]) -> World {
    let mut world = World::new();
    for name in names {
        world.recipe(name, &KUBERNETES.replace("NAME", name));
    }
    world
}

/// Announces a version of Kubernetes, published on a day, and publishes these programs.
fn publish(world: &World, version: &str, date: Option<&str>, names: &[&str]) {
    let content = format!("v{version}\n");
    world.put(
        "https://dl.k8s.io/release/stable-1.36.txt",
        content.as_bytes(),
    );
    for name in names {
        for arch in ["amd64", "arm64"] {
            let url = format!("https://dl.k8s.io/release/v{version}/bin/linux/{arch}/{name}");
            let content = format!("{name} {version} {arch}");
            let sum = stub::digest::Sha256::of(content.as_bytes()).to_string();
            let headers = date.map(|date| ("Last-Modified", date.to_owned()));
            let script = [Behaviour::With(headers.into_iter().collect())];
            world.route(&url, content.as_bytes(), script);
            world.put(&format!("{url}.sha256"), sum.as_bytes());
        }
    }
}

const LONG_AGO: Option<&str> = Some("Thu, 01 Oct 2026 09:30:00 GMT");

#[test]
fn components_of_kubernetes_move_together() {
    let parts = ["kube-apiserver", "kubelet"];
    let world = kubernetes(&parts);
    publish(&world, "1.36.3", LONG_AGO, &parts);
    let first = world.update(&Lockfile::new()).unwrap();
    assert_eq!(first.notes, [""; 0]);
    publish(&world, "1.36.4", LONG_AGO, &parts);
    let before = world.asked("https://dl.k8s.io/release/stable-1.36.txt");
    let second = world.update_only("kubelet", &first.lockfile).unwrap();
    for part in parts {
        assert_eq!(version(&second.lockfile, part), "1.36.4");
    }
    insta::assert_snapshot!(second.notes.join("\n"), @"kubelet: released together with kube-apiserver, and updated together");
    // One answer for all.
    assert_eq!(
        world.asked("https://dl.k8s.io/release/stable-1.36.txt"),
        before + 1
    );
}

#[test]
fn what_does_not_go_with_kubernetes_is_refused() {
    let mut world = kubernetes(&["kube-apiserver"]);
    let recipe = KUBERNETES
        .replace("NAME", "crictl")
        .replace("stable-1.36", "stable-1.37")
        .replace("~1.36", "~1.37");
    world.recipe("crictl", &recipe);
    publish(&world, "1.37.0", LONG_AGO, &["crictl"]);
    world.put("https://dl.k8s.io/release/stable-1.37.txt", b"v1.37.0\n");
    publish(&world, "1.36.3", LONG_AGO, &["kube-apiserver"]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    crictl 1.37.0 and kube-apiserver 1.36.3 do not go together
      expected  crictl 1.36

    hint: change `allow` in their recipes so that the two versions go together, then update both
    ");
}

#[test]
fn a_version_is_left_alone_for_some_days() {
    let parts = ["kubelet"];
    let world = kubernetes(&parts);
    publish(&world, "1.36.3", LONG_AGO, &parts);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    publish(
        &world,
        "1.36.4",
        Some("Sun, 22 Nov 2026 12:00:00 GMT"),
        &parts,
    );
    let updated = world.update(&first).unwrap();
    assert_eq!(updated.lockfile, first);
    insta::assert_snapshot!(updated.notes.join("\n"), @"kubelet: 1.36.4 was published or last changed on 2026-11-22 12:00 UTC, less than 3 days ago: not taken");
    assert!(world.newer(&first).unwrap().is_empty());
    let updated = world.update_with(&first, |u| u.min_age = std::time::Duration::ZERO);
    assert_eq!(version(&updated.unwrap().lockfile, "kubelet"), "1.36.4");
}

#[test]
fn a_date_in_the_future_is_not_believed() {
    let world = world(&[GITHUB]);
    let mut strange = release("1.2.4");
    strange.published = "2031-01-01T00:00:00Z";
    world.releases(REPOSITORY, &[strange, release("1.2.3")]);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.3");
    insta::assert_snapshot!(updated.notes.join("\n"), @"tool: 1.2.4 is dated 2031-01-01 00:00 UTC, which is in the future by this machine's clock: not taken");
}

#[test]
fn nothing_is_replaced_by_something_older() {
    let parts = ["kubelet"];
    let world = kubernetes(&parts);
    publish(&world, "1.36.4", LONG_AGO, &parts);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    publish(&world, "1.36.3", LONG_AGO, &parts);
    insta::assert_snapshot!(world.refusal(&first), @r"
    kubelet: upstream's newest version is older than the locked one
      locked  1.36.4
      newest  1.36.3

    hint: find out whether upstream has withdrawn a release; to go back to the older version, add `--allow-downgrade`
    ");
    let updated = world.update_with(&first, |u| u.allow_downgrade = true);
    assert_eq!(version(&updated.unwrap().lockfile, "kubelet"), "1.36.3");
}

#[test]
fn a_version_that_was_published_twice_is_only_taken_by_name() {
    let world = world(&[CHECKSUMS]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    let mut again = release("1.2.3");
    again.files[0].1 = sums(&[("tool-amd64", b"other"), ("tool-arm64", b"other")]);
    world.releases(REPOSITORY, &[again]);
    insta::assert_snapshot!(world.refusal(&first), @r"
    tool: upstream now publishes other bytes under a locked version
      for        aarch64
      url        https://github.com/example/tool/releases/download/v1.2.3/tool-arm64
      locked     sha256:ec02e55f64ed4aa6faba936d32dcd6dd7eb7c832a5d1f12fb39b9e49f4f28a08
      published  sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa

    hint: if upstream has done so on purpose, run `builder lock --update tool` and review the diff
    ");
    let updated = world.update_only("tool", &first).unwrap();
    assert_ne!(updated.lockfile, first);
}

#[test]
fn a_file_with_a_version_that_has_none_is_said() {
    let world = kubernetes(&["kubelet"]);
    let at = "https://dl.k8s.io/release/stable-1.36.txt";
    world.route(at, b"", [Behaviour::Page]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r#"
    kubelet: https://dl.k8s.io/release/stable-1.36.txt: there is no version in it
      expected  `v{version}` and nothing else
      found     a web page: "<!doctype html><title>Log in</title>"

    hint: open the address in a browser; if upstream has changed the form, change `tag` in the recipe
    "#);
    world.put(at, b"v1.37.0\n");
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    kubelet: upstream announces no version that the recipe allows
      expected  ~1.36
      found     1.37.0 and others, 1 in all

    hint: correct `allow` or `tag` in the recipe
    ");
}

#[test]
fn an_unknown_name_is_said() {
    let world = kubernetes(&["kubelet"]);
    let error = world.update_only("kublet", &Lockfile::new()).unwrap_err();
    insta::assert_snapshot!(error, @r"
    there is no recipe `kublet`
      expected  kubelet
    ");
}

#[test]
fn a_file_that_was_replaced_makes_its_version_new_again() {
    let mut world = World::new();
    let recipe = crate::TOOL.replace("CHECKS", GITHUB);
    world.recipe("tool", &recipe);
    let mut touched = release("1.2.4");
    touched.replaced = Some(("tool-arm64", "2026-11-22T23:59:00Z"));
    world.releases(REPOSITORY, &[touched.clone(), release("1.2.3")]);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.3");
    insta::assert_snapshot!(updated.notes.join("\n"), @"tool: 1.2.4 was published or last changed on 2026-11-22 23:59 UTC, less than 3 days ago: not taken");
    // A file that the recipe does not take says nothing about those that it takes.
    touched.replaced = Some(("SHA256SUMS", "2026-11-22T23:59:00Z"));
    world.releases(REPOSITORY, &[touched, release("1.2.3")]);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.4");
}
