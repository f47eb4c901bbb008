//! GitHub's API as it is documented, and answers it would never give.

use builder::lockfile::{Evidence, Lockfile};
use serde_json::json;
use stub::bundle::Arch;
use stub::digest::Sha256;

use crate::{CHECKSUMS, GITHUB, REPOSITORY, pinned, release, version, world};
use support::server::{Behaviour, Server};

const API: &str = "https://api.github.com/repos/example/tool/releases";

#[test]
fn the_newest_release_is_pinned_by_all_that_is_published_about_it() {
    let world = world(&[CHECKSUMS, GITHUB]);
    let mut preview = release("1.2.9");
    preview.prerelease = true;
    let mut draft = release("1.2.8");
    draft.draft = true;
    let releases = [
        draft,
        preview,
        release("1.3.0"),
        release("1.2.3"),
        release("1.2.10"),
    ];
    world.releases(REPOSITORY, &releases);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(updated.notes, [""; 0]);
    for (arch, content) in [
        (Arch::X86_64, "1.2.10 for amd64"),
        (Arch::Aarch64, "1.2.10 for arm64"),
    ] {
        let (version, artifact) = pinned(&updated.lockfile, "tool", arch);
        assert_eq!(version, "1.2.10");
        assert_eq!(artifact.digest, Some(Sha256::of(content.as_bytes()).into()));
        assert_eq!(artifact.size, Some(content.len() as u64));
        let url = "https://github.com/example/tool/releases/download/v1.2.10/SHA256SUMS".to_owned();
        assert_eq!(
            artifact.evidence,
            [Evidence::GithubDigest, Evidence::Checksums { url }]
        );
    }
    // Nothing was downloaded but the list and the digests, each once.
    let paths: Vec<String> = world
        .server
        .requests()
        .into_iter()
        .map(|r| r.path)
        .collect();
    assert_eq!(
        paths,
        [
            "/api.github.com/repos/example/tool/releases?per_page=50",
            "/github.com/example/tool/releases/download/v1.2.10/SHA256SUMS",
        ]
    );
    assert_eq!(world.server.most_active(), 1);
}

#[test]
fn a_preview_is_taken_by_a_recipe_that_asks_for_it() {
    let mut world = crate::world::World::new();
    let recipe = crate::TOOL
        .replace("CHECKS", GITHUB)
        .replace("~1.2", "=1.2.9-rc.1");
    world.recipe("tool", &recipe);
    let mut preview = release("1.2.9-rc.1");
    preview.prerelease = true;
    world.releases(REPOSITORY, &[preview, release("1.2.3")]);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.9-rc.1");
}

#[test]
fn pages_are_read_until_there_is_a_version_to_take() {
    let world = world(&[GITHUB]);
    let mut releases: Vec<_> = (0..130).map(|n| release(&format!("2.0.{n}"))).collect();
    releases[110] = release("1.2.3");
    world.releases(REPOSITORY, &releases);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.3");
    assert_eq!(world.asked(API), 3);
    // The same with a version on the first page: the others are not asked for.
    releases[0] = release("1.2.4");
    world.releases(REPOSITORY, &releases);
    let updated = world.update(&updated.lockfile).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.4");
    assert_eq!(world.asked(API), 4);
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let world = world(&[GITHUB]);
    let mut releases: Vec<_> = (0..60).map(|n| release(&format!("2.0.{n}"))).collect();
    releases.push(release("1.2.3"));
    world.releases(REPOSITORY, &releases);
    let first = world.update(&Lockfile::new()).unwrap();
    let before = world.server.requests().len();
    let again = world.update(&first.lockfile).unwrap();
    assert_eq!(again.lockfile, first.lockfile);
    let requests = &world.server.requests()[before..];
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.header("if-none-match").is_some(), "{request:?}");
        assert_eq!(request.sent, 0, "{request:?}");
    }
}

#[test]
fn a_list_that_is_not_read_to_its_end_gives_no_version() {
    let world = world(&[GITHUB]);
    let page: Vec<_> = (0..50)
        .map(|n| json!({"tag_name": format!("v2.0.{n}"), "draft": false, "prerelease": false, "published_at": crate::world::OLD, "assets": []}))
        .collect();
    let pages = vec![json!(page).to_string().into_bytes(); 200];
    world.route(API, b"", [Behaviour::Pages(std::sync::Arc::new(pages))]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool: https://api.github.com/repos/example/tool/releases?per_page=50: the list does not end
      expected  at most 20 pages
      found     20 pages, and a next one: https://api.github.com/repos/example/tool/releases?per_page=50&page=21

    hint: the newest version may be among the missing ones, so none is taken: report this, because the limit may have to be raised
    ");
    assert_eq!(world.asked(API), 20);
}

#[test]
fn a_repository_without_releases_has_tags() {
    let world = world(&[]);
    world.releases(REPOSITORY, &[]);
    let tags = json!([
        {"name": "v1.2.4", "zipball_url": "https://api.github.com/zip", "commit": {"sha": "c0ffee", "url": "https://api.github.com/c"}, "node_id": "x"},
        {"name": "nightly", "commit": {"sha": "c0ffee"}},
    ]);
    world.put(
        "https://api.github.com/repos/example/tool/tags",
        tags.to_string().as_bytes(),
    );
    for arch in ["amd64", "arm64"] {
        let url = format!("https://github.com/example/tool/releases/download/v1.2.4/tool-{arch}");
        world.put(&url, b"seven");
    }
    let updated = world.update(&Lockfile::new()).unwrap();
    let (version, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert_eq!((version, artifact.size), ("1.2.4", Some(5)));
    // Nobody has said what is in it, so nothing is made up.
    assert_eq!((artifact.digest, artifact.evidence.len()), (None, 0));
    insta::assert_snapshot!(updated.notes.join("\n"), @r"
    tool 1.2.4 (aarch64): upstream publishes no digest of https://github.com/example/tool/releases/download/v1.2.4/tool-arm64: it stays unpinned
    tool 1.2.4 (x86_64): upstream publishes no digest of https://github.com/example/tool/releases/download/v1.2.4/tool-amd64: it stays unpinned
    release date unknown: tool
    ");
}

#[test]
fn the_token_goes_to_the_interface_and_nowhere_else() {
    let mut world = world(&[CHECKSUMS, GITHUB]);
    world.endpoints.github_token = Some("secret".to_owned());
    let release = release("1.2.3");
    let sums = release.file(REPOSITORY, "SHA256SUMS");
    world.releases(REPOSITORY, std::slice::from_ref(&release));
    // As in the real world, files are somewhere else, and a repository that was renamed is too.
    let elsewhere = Server::start();
    let moved = elsewhere.good("/objects/1", &release.files[0].1);
    world.route(&sums, b"", [Behaviour::Redirect(moved)]);
    world.update(&Lockfile::new()).unwrap();
    for request in world.server.requests() {
        let to_api = request.path.starts_with("/api.github.com/");
        let expected = to_api.then_some("Bearer secret");
        assert_eq!(request.header("authorization"), expected, "{request:?}");
    }
    assert_eq!(elsewhere.requests().len(), 1);
    let renamed = elsewhere.good("/repositories/1/releases", b"[]");
    world.route(API, b"", [Behaviour::Redirect(renamed)]);
    world.update(&Lockfile::new()).unwrap_err();
    assert_eq!(elsewhere.requests().len(), 2);
    for request in elsewhere.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[test]
fn a_list_that_goes_on_elsewhere_is_not_followed() {
    let mut world = world(&[GITHUB]);
    world.endpoints.github_token = Some("secret".to_owned());
    let elsewhere = Server::start();
    let next = format!("<{}>; rel=\"next\"", elsewhere.url("/steal?page=2"));
    world.route(API, b"[]", [Behaviour::With(vec![("Link", next)])]);
    let error = world
        .refusal(&Lockfile::new())
        .replace(&elsewhere.host(), "ELSEWHERE");
    insta::assert_snapshot!(error, @r"
    tool: https://api.github.com/repos/example/tool/releases?per_page=50: the next page of the list is at another address, which the builder does not follow
      expected  https://api.github.com/…
      found     http://ELSEWHERE/steal?page=2

    hint: a proxy may have answered in GitHub's place: open the address in a browser and compare
    ");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_login_page_is_no_list() {
    let world = world(&[GITHUB]);
    world.route(API, b"", [Behaviour::Page]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r#"
    tool: https://api.github.com/repos/example/tool/releases?per_page=50: the answer cannot be read: expected value at line 1 column 1
      expected  JSON
      found     a web page: "<!doctype html><title>Log in</title>"

    hint: a proxy that wants a login may have answered in upstream's place: open the address in a browser
    "#);
}

#[test]
fn a_repository_that_is_not_there_and_a_token_that_is_not_valid_are_said() {
    let mut world = world(&[GITHUB]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool: https://api.github.com/repos/example/tool/releases?per_page=50: GitHub has no such repository

    hint: correct `repository` in the recipe
    ");
    world.route(API, b"", [Behaviour::status(401)]);
    world.endpoints.github_token = Some("expired".to_owned());
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool: https://api.github.com/repos/example/tool/releases?per_page=50: GitHub refuses the token

    hint: set GITHUB_TOKEN to a token that is valid, or unset it: public repositories need none
    ");
}
