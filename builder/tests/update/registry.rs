//! OCI registries: tags, indexes and manifests, and those that were swapped.

use builder::lockfile::{Evidence, Lockfile};
use serde_json::{Value, json};
use stub::bundle::Arch;
use stub::digest::Sha256;

use crate::pinned;
use crate::world::World;
use support::server::Behaviour;

const IMAGE: &str = r#"
summary = "an image"
homepage = "https://example.org"
license = "MIT"
version = { from = "registry", image = "ghcr.io/example/tool", tag = "v{version}", allow = "~1.2" }

[[artifact]]
urls = ["oci://ghcr.io/example/tool:v{version}"]
format = "oci-image"
file = [{ to = "images/tool" }]
"#;
const BASE: &str = "/v2/ghcr.io/example/tool";

fn digest(document: &str) -> String {
    format!("sha256:{}", Sha256::of(document.as_bytes()))
}

fn described(document: &str, kind: &str) -> Value {
    json!({"mediaType": format!("application/vnd.oci.image.{kind}.v1+json"), "digest": digest(document), "size": document.len()})
}

/// The manifests of an image for these architectures, by Go's names, and the index that names them.
fn image(architectures: &[&str]) -> (String, Vec<String>) {
    let manifests: Vec<String> = architectures
        .iter()
        .map(|architecture| {
            let config = json!({"os": "linux", "architecture": architecture}).to_string();
            let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest("layer"), "size": 5});
            json!({"schemaVersion": 2, "config": described(&config, "config"), "layers": [layer]}).to_string()
        })
        .collect();
    let entries: Vec<Value> = manifests
        .iter()
        .zip(architectures)
        .map(|(manifest, architecture)| {
            let mut entry = described(manifest, "manifest");
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    (index.to_string(), manifests)
}

/// A registry with an image under a tag. Gives its index.
pub(crate) fn publish(world: &World, base: &str, tag: &str, architectures: &[&str]) -> String {
    let (index, manifests) = image(architectures);
    let said = vec![("Docker-Content-Digest", digest(&index))];
    let at = format!("{base}/manifests/{tag}");
    let script = [Behaviour::With(said)];
    world.server.route(&at, index.as_bytes(), script);
    for manifest in manifests {
        let at = format!("{base}/manifests/{}", digest(&manifest));
        world.server.good(&at, manifest.as_bytes());
    }
    index
}

pub(crate) fn tags(world: &World, base: &str, tags: &[&str]) {
    let name = base.trim_start_matches("/v2/");
    let list = json!({"name": name, "tags": tags}).to_string();
    world
        .server
        .good(&format!("{base}/tags/list"), list.as_bytes());
}

fn world() -> World {
    let mut world = World::new();
    world.recipe("tool", IMAGE);
    world
}

#[test]
fn a_tag_is_pinned_by_the_digest_of_its_index() {
    let world = world();
    tags(
        &world,
        BASE,
        &["latest", "v1.2.3", "v1.2.10", "v1.3.0", "sha256-00.sig"],
    );
    let index = publish(&world, BASE, "v1.2.10", &["amd64", "arm64", "s390x"]);
    let updated = world.update(&Lockfile::new()).unwrap();
    let (version, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert_eq!(version, "1.2.10");
    assert_eq!(artifact.digest.unwrap().to_string(), digest(&index));
    assert_eq!(artifact.size, Some(index.len() as u64));
    assert_eq!(artifact.evidence, [Evidence::RegistryDigest]);
    let other = pinned(&updated.lockfile, "tool", Arch::Aarch64).1;
    assert_eq!(other.digest, artifact.digest);
    insta::assert_snapshot!(updated.notes.join("\n"), @"release date unknown: tool");
    // The index once, and the manifests of our two architectures.
    assert_eq!(world.server.requests().len(), 4);
}

#[test]
fn tags_come_in_pages_and_only_with_a_token() {
    let world = world();
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let list = format!("{BASE}/tags/list");
    let page = |tags: &[&str]| json!({"name": "example/tool", "tags": tags}).to_string();
    let next = format!("<{BASE}/tags/more?n=1000&last=v0.9.0>; rel=\"next\"");
    let script = [Behaviour::With(vec![("Link", next)])];
    world
        .server
        .route(&list, page(&["v0.9.0"]).as_bytes(), script);
    let more = format!("{BASE}/tags/more");
    world.server.good(&more, page(&["v1.2.3"]).as_bytes());
    let token = world.server.good("/token", br#"{"token":"anonymous"}"#);
    let challenge = format!(
        "Bearer realm=\"{token}\",service=\"ghcr.io\",scope=\"repository:example/tool:pull\""
    );
    world.server.guard("/v2/", "anonymous", challenge);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(crate::version(&updated.lockfile, "tool"), "1.2.3");
    assert_eq!(world.server.requests_for(&more).len(), 1);
}

#[test]
fn googles_registries_say_when_a_tag_was_made() {
    let world = world();
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let manifest = |tag: &str, ms: u64| json!({"imageSizeBytes": "1", "layerId": "", "mediaType": "application/vnd.oci.image.index.v1+json", "tag": [tag], "timeCreatedMs": "0", "timeUploadedMs": ms.to_string()});
    let now: u64 = 1_795_392_000_000;
    let list = json!({
        "child": [],
        "manifest": {"sha256:aa": manifest("v1.2.3", now - 40 * 86_400_000), "sha256:bb": manifest("v1.2.4", now - 86_400_000)},
        "name": "example/tool",
        "tags": ["v1.2.3", "v1.2.4"],
    });
    world
        .server
        .good(&format!("{BASE}/tags/list"), list.to_string().as_bytes());
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(crate::version(&updated.lockfile, "tool"), "1.2.3");
    insta::assert_snapshot!(updated.notes.join("\n"), @"tool: 1.2.4 was published or last changed on 2026-11-22 00:00 UTC, less than 3 days ago: not taken");
}

#[test]
fn a_list_of_tags_that_goes_on_elsewhere_is_not_followed() {
    let world = world();
    let elsewhere = support::server::Server::start();
    let next = format!("<{}>; rel=\"next\"", elsewhere.url("/v2/x"));
    let list = json!({"name": "example/tool", "tags": []}).to_string();
    let script = [Behaviour::With(vec![("Link", next)])];
    world
        .server
        .route(&format!("{BASE}/tags/list"), list.as_bytes(), script);
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("the next page of the list of tags is at another host"),
        "{error}"
    );
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn an_index_that_is_not_the_one_the_registry_names_is_refused() {
    let world = world();
    tags(&world, BASE, &["v1.2.3"]);
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let (swapped, _) = image(&["amd64"]);
    let said = vec![("Docker-Content-Digest", digest("the right one"))];
    let script = [Behaviour::With(said)];
    world.server.route(
        &format!("{BASE}/manifests/v1.2.3"),
        swapped.as_bytes(),
        script,
    );
    let error = world.refusal(&Lockfile::new());
    insta::assert_snapshot!(error, @r"
    tool 1.2.3: oci://ghcr.io/example/tool:v1.2.3: the registry sent a document that does not match the digest it announced
      expected  sha256:c9529bcf55cc3216d070f9f79bf161b78128d3336dd215e7c7a3129917e6390a
      found     sha256:a7ae94f4ddab7ee110d2e7060acede1f7ed1831e5c902682546843d29dd19c65

    hint: try again; if the result is the same, something on the way changes the document: try from another network
    ");
}

#[test]
fn a_manifest_that_was_swapped_is_refused() {
    let world = world();
    tags(&world, BASE, &["v1.2.3"]);
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let (_, manifests) = image(&["amd64", "arm64"]);
    let at = format!("{BASE}/manifests/{}", digest(&manifests[0]));
    world.server.good(&at, manifests[1].as_bytes());
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3: oci://ghcr.io/example/tool:v1.2.3: the manifest for x86_64 is not the one its index names
      url       https://v2/ghcr.io/example/tool/manifests/sha256:c31336aca31cd298b8dfb901832d0e9cf03e4b7ff52fbefc1ecab652282cf7a5
      expected  sha256:c31336aca31cd298b8dfb901832d0e9cf03e4b7ff52fbefc1ecab652282cf7a5
      found     sha256:ebc1bb684b226bbafb05eb5081272cf9486454258ddd858921c2beebfbf42cfc

    hint: try again; if the result is the same, something on the way changes the document: try from another network
    ");
}

#[test]
fn an_image_for_one_architecture_is_locked_for_that_one() {
    let world = world();
    tags(&world, BASE, &["v1.2.3"]);
    let index = publish(&world, BASE, "v1.2.3", &["arm64", "s390x"]);
    let updated = world.update(&Lockfile::new()).unwrap();
    let locked = updated.lockfile;
    let artifact = pinned(&locked, "tool", Arch::Aarch64).1;
    assert_eq!(artifact.digest.unwrap().to_string(), digest(&index));
    let note = &updated.notes[0];
    assert!(
        note.contains(
            "there is nothing for this platform in it; locked for aarch64 only, not for x86_64"
        ),
        "{note}"
    );
    let error = locked.select(Arch::X86_64, &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("tool 1.2.3 does not exist for x86_64\n"),
        "{error}"
    );
    // Without an index, the configuration says what it is for.
    let alone = image(&["amd64"]).1.remove(0);
    let config = json!({"os": "linux", "architecture": "amd64"}).to_string();
    world
        .server
        .good(&format!("{BASE}/manifests/v1.2.3"), alone.as_bytes());
    world.server.good(
        &format!("{BASE}/blobs/{}", digest(&config)),
        config.as_bytes(),
    );
    let locked = world.update(&Lockfile::new()).unwrap().lockfile;
    assert!(locked.select(Arch::X86_64, &[]).is_ok());
    assert!(locked.select(Arch::Aarch64, &[]).is_err());
}

#[test]
fn an_image_that_has_no_architecture_of_ours_is_not_taken() {
    let world = world();
    tags(&world, BASE, &["v1.2.3"]);
    publish(&world, BASE, "v1.2.3", &["ppc64le", "s390x"]);
    let (index, _) = image(&["ppc64le", "s390x"]);
    let error = world.refusal(&Lockfile::new());
    let error = error.replace(&digest(&index), "sha256:…");
    insta::assert_snapshot!(error, @r"
    tool 1.2.3: oci://ghcr.io/example/tool:v1.2.3: image document sha256:…: there is nothing for this platform in it
      expected  linux/arm64
      found     linux/ppc64le, linux/s390x

    hint: if upstream is still uploading the release, try again later; if upstream has renamed its files, change `urls` in the recipe
    ");
}

/// Docker Hub, played by the test's server.
const HUB: &str = "/v2/registry-1.docker.io/library/busybox";

fn hub_world(image: &str) -> World {
    let mut world = World::new();
    let recipe = IMAGE
        .replace("ghcr.io/example/tool", image)
        .replace("v{version}", "{version}");
    world.recipe("tool", &recipe);
    let token = world.server.good("/token", br#"{"token":"anonymous"}"#);
    let challenge = format!("Bearer realm=\"{token}\",service=\"registry.docker.io\"");
    world.server.guard("/v2/", "anonymous", challenge);
    world
}

#[test]
fn short_names_of_docker_hub_are_those_docker_knows() {
    for image in [
        "docker.io/busybox",
        "index.docker.io/busybox",
        "docker.io/library/busybox",
    ] {
        let world = hub_world(image);
        tags(&world, HUB, &["latest", "1.2.3"]);
        publish(&world, HUB, "1.2.3", &["amd64", "arm64"]);
        let locked = world.update(&Lockfile::new()).unwrap().lockfile;
        let (version, artifact) = pinned(&locked, "tool", Arch::X86_64);
        assert_eq!(version, "1.2.3");
        // By its full name, which is also what container runtimes look for.
        assert_eq!(artifact.url(), "oci://docker.io/library/busybox:1.2.3");
        let report = builder::lock::check::check(world.recipes(), &locked).unwrap();
        assert!(report.verdict().is_ok(), "{report}");
    }
}

#[test]
fn an_image_that_wants_a_login_is_named() {
    let world = hub_world("docker.io/busybox");
    // Docker Hub gives everybody a token, also for what is private or not there, and then refuses it.
    let challenge = "Bearer realm=\"ignored\",error=\"insufficient_scope\"".to_owned();
    world.server.route(
        &format!("{HUB}/tags/list"),
        b"",
        [Behaviour::Answer(
            401,
            vec![("WWW-Authenticate", challenge)],
        )],
    );
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("wants a login for `registry-1.docker.io/library/busybox`, and the builder has none: the image is private, or it does not exist"),
        "{error}"
    );
}

/// A list of tags in so many pages; the version is on the last.
fn paged(world: &World, count: usize) {
    let page = |tag: &str| {
        json!({"name": "example/tool", "tags": [tag]})
            .to_string()
            .into_bytes()
    };
    let mut pages = vec![page("v0.9.0"); count - 1];
    pages.push(page("v1.2.3"));
    let script = [Behaviour::Pages(std::sync::Arc::new(pages))];
    world
        .server
        .route(&format!("{BASE}/tags/list"), b"", script);
}

#[test]
fn a_list_of_tags_is_read_to_its_end_or_not_believed() {
    let world = world();
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    paged(&world, 100);
    let locked = world.update(&Lockfile::new()).unwrap().lockfile;
    assert_eq!(crate::version(&locked, "tool"), "1.2.3");
    paged(&world, 101);
    let error = world.refusal(&Lockfile::new());
    insta::assert_snapshot!(error, @r"
    tool: the tags of ghcr.io/example/tool: the list does not end
      expected  at most 100 pages
      found     100 pages, and a next one: https://v2/ghcr.io/example/tool/tags/list?per_page=50&page=101

    hint: the newest version may be among the missing ones, so none is taken: report this, because the limit may have to be raised
    ");
}

#[test]
fn a_list_of_tags_that_goes_in_circles_is_not_believed() {
    let world = world();
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let list = json!({"name": "example/tool", "tags": ["v1.2.3"]}).to_string();
    let to = |path: &str| {
        let next = format!("<{BASE}/tags/{path}>; rel=\"next\"");
        [Behaviour::With(vec![("Link", next)])]
    };
    for (first, second) in [("list?n=1000", "list"), ("more", "list?n=1000")] {
        for (page, next) in [("list", first), ("more", second)] {
            let at = format!("{BASE}/tags/{page}");
            world.server.route(&at, list.as_bytes(), to(next));
        }
        let error = world.refusal(&Lockfile::new());
        assert!(
            error.starts_with(
                "tool: the tags of ghcr.io/example/tool: the list goes in circles: after "
            ),
            "{error}"
        );
    }
}

#[test]
fn a_tag_that_was_moved_is_only_taken_by_name() {
    let world = world();
    tags(&world, BASE, &["v1.2.3"]);
    publish(&world, BASE, "v1.2.3", &["amd64", "arm64"]);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    publish(&world, BASE, "v1.2.3", &["arm64", "amd64"]);
    let error = world.refusal(&first);
    assert!(
        error.starts_with("tool: upstream now publishes other bytes under a locked version"),
        "{error}"
    );
}
