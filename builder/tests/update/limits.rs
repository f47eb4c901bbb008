//! GitHub's limits: 403 and 429, `retry-after` and `x-ratelimit-reset`.

use builder::lockfile::Lockfile;

use crate::{GITHUB, REPOSITORY, release, version, world};
use support::server::Behaviour;

const API: &str = "https://api.github.com/repos/example/tool/releases";
/// 23 November 2026, midnight UTC: what the tests' clock says.
const NOW: u64 = 1_795_392_000;

fn used_up(reset: u64) -> Behaviour {
    let headers = vec![
        ("x-ratelimit-limit", "60".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", reset.to_string()),
    ];
    Behaviour::Answer(403, headers)
}

fn later(status: u16, seconds: &str) -> Behaviour {
    Behaviour::Answer(status, vec![("retry-after", seconds.to_owned())])
}

const SAID: &[u8] = br#"{"message":"API rate limit exceeded for 192.0.2.1.","documentation_url":"https://docs.github.com/rest"}"#;

#[test]
fn a_short_wait_is_waited() {
    let world = world(&[GITHUB]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    let page = serde_json::json!([{"tag_name": "v1.2.3", "published_at": crate::world::OLD, "assets": [
        {"name": "tool-amd64", "size": 1, "state": "uploaded", "digest": null},
        {"name": "tool-arm64", "size": 1, "state": "uploaded", "digest": null},
    ]}]);
    let script = [
        later(429, "20"),
        later(403, "30"),
        used_up(NOW + 90),
        Behaviour::Good,
    ];
    world.route(API, page.to_string().as_bytes(), script);
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(version(&updated.lockfile, "tool"), "1.2.3");
    let waits = world.waits();
    assert_eq!(waits[..2], [20, 30]);
    assert!((60..=91).contains(&waits[2]), "{waits:?}");
    assert_eq!(world.asked(API), 4);
}

#[test]
fn a_long_wait_is_an_error_that_names_the_time() {
    let mut world = world(&[GITHUB]);
    world.route(API, SAID, [used_up(NOW + 3000)]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool: https://api.github.com: GitHub answers no more requests for now
      until        2026-11-23 00:50 UTC
      GitHub says  API rate limit exceeded for 192.0.2.1.

    hint: try again then, or set GITHUB_TOKEN: with a token, which needs no permissions, GitHub answers 5000 requests an hour instead of 60
    ");
    assert_eq!((world.asked(API), world.waits().len()), (1, 0));
    world.endpoints.github_token = Some("secret".to_owned());
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("hint: try again then: the limit of this token is used up"),
        "{error}"
    );
}

#[test]
fn waiting_comes_to_an_end() {
    let world = world(&[GITHUB]);
    world.route(API, SAID, [later(429, "10")]);
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.starts_with("tool: https://api.github.com: GitHub answers no more requests for now"),
        "{error}"
    );
    assert_eq!(world.waits(), [10, 10, 10, 10]);
}

#[test]
fn a_refusal_that_is_no_limit_is_not_waited_for() {
    let world = world(&[GITHUB]);
    world.route(API, SAID, [Behaviour::status(403)]);
    let error = world.refusal(&Lockfile::new());
    assert!(error.contains("403 Forbidden"), "{error}");
    assert!(world.waits().is_empty());
}

const SECONDARY: &[u8] = br#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes.\u001b[2J","documentation_url":"https://docs.github.com/rest"}"#;

#[test]
fn the_secondary_limit_is_known_by_its_body_alone() {
    let world = world(&[GITHUB]);
    world.route(API, SECONDARY, [Behaviour::Answer(403, Vec::new())]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool: https://api.github.com: GitHub answers no more requests for now
      GitHub says  You have exceeded a secondary rate limit. Please wait a few minutes.[2J

    hint: try again then, or set GITHUB_TOKEN: with a token, which needs no permissions, GitHub answers 5000 requests an hour instead of 60
    ");
    assert!(world.waits().iter().all(|wait| *wait == 60));
    // It passes.
    let world = crate::world(&[GITHUB]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    let tags = serde_json::json!([{"tag_name": "v1.2.3", "published_at": crate::world::OLD, "assets": [
        {"name": "tool-amd64", "size": 1}, {"name": "tool-arm64", "size": 1},
    ]}]);
    let script = [later(403, "7"), Behaviour::Good];
    world.route(API, tags.to_string().as_bytes(), script);
    world.update(&Lockfile::new()).unwrap();
    assert_eq!(world.waits(), [7]);
}

#[test]
fn what_github_says_of_a_refusal_is_shown() {
    let world = world(&[GITHUB]);
    let body = br#"{"message":"Although you appear to have the correct credentials, the organization has enabled SAML."}"#;
    world.route(API, body, [Behaviour::Answer(403, Vec::new())]);
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("reason  403 Forbidden: Although you appear to have"),
        "{error}"
    );
    assert!(world.waits().is_empty());
}
