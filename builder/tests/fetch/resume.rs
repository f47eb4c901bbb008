//! Going on where a download was interrupted.

use stub::error::Kind;

use super::*;
use support::server::Behaviour;
use support::server::Behaviour::{Good, IgnoreRange, Other, Short, WrongRange};

const PATH: &str = "/v1.2.3/tool";
const TOOL: &[u8] = b"a program of forty bytes, more or less..";

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let lab = Lab::new();
    let url = lab.server.route(PATH, TOOL, [Short(16), Short(8), Good]);
    let summary = lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap();
    assert_eq!(summary.bytes, 40, "no byte came twice");
    let requests = lab.server.requests();
    let ranges: Vec<_> = requests.iter().map(|r| r.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=16-"), Some("bytes=24-")]);
    assert!(requests[1].header("if-range").is_some());
    let sent: Vec<_> = requests.iter().map(|r| r.sent).collect();
    assert_eq!(sent, [16, 8, 16]);
}

#[test]
fn an_interrupted_fetch_is_resumed_by_the_next_one() {
    let lab = Lab::new();
    let script = [Short(20), Short(0), Short(0), Short(0), Good];
    let pins = lockfile([plain(&[lab.server.route(PATH, TOOL, script)], TOOL)]);
    let error = lab.fetch(&pins).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    let shown = lab.shown(&error);
    assert!(
        shown.contains("the connection broke") && shown.contains("(4 tries)"),
        "{shown}"
    );
    assert!(shown.contains("--mirror"), "{shown}");
    assert!(!lab.cache.contains(&digest_of(TOOL)));
    assert_eq!(lab.fetch(&pins).unwrap().bytes, 20);
    assert_eq!(lab.server.requests()[4].header("range"), Some("bytes=20-"));
    assert!(lab.unfinished().is_empty());
}

#[test]
fn what_was_complete_before_it_was_published_is_not_fetched_again() {
    let lab = Lab::new();
    let pins = lockfile([plain(&[lab.server.good(PATH, TOOL)], TOOL)]);
    // What a kill between the last byte and the renaming leaves.
    let partial = lab.cache.root().join("partial");
    let partial = partial.join(digest_of(TOOL).hex());
    fs_err::create_dir_all(partial.parent().unwrap()).unwrap();
    fs_err::write(&partial, TOOL).unwrap();
    let origin = json!({"url": lab.server.url(PATH), "validator": "\"x\"", "total": 40});
    fs_err::write(partial.with_extension("json"), origin.to_string()).unwrap();
    assert_eq!(lab.fetch(&pins).unwrap().bytes, 0);
    assert!(lab.server.requests().is_empty());
    assert!(lab.unfinished().is_empty());
    lab.cache.open_verified(&digest_of(TOOL)).unwrap();
}

#[test]
fn what_cannot_be_resumed_starts_over() {
    for (script, asked) in [
        // The server knows nothing of ranges: the whole comes with the second answer.
        (vec![Short(16), IgnoreRange], 2),
        // The part is another one than that asked for.
        (vec![Short(16), WrongRange, Good], 3),
        // There is no such part any more.
        (vec![Short(16), Behaviour::status(416), Good], 3),
    ] {
        let lab = Lab::new();
        let pin = plain(&[lab.server.route(PATH, TOOL, script)], TOOL);
        assert_eq!(lab.fetch(&lockfile([pin])).unwrap().bytes, 16 + 40);
        assert_eq!(lab.server.requests().len(), asked);
    }
}

#[test]
fn a_file_that_changes_between_two_tries_starts_over() {
    let lab = Lab::new();
    let old = b"the version before, also of forty bytes.";
    let pin = plain(
        &[lab
            .server
            .route(PATH, old, [Short(16), Other(TOOL.to_vec())])],
        TOOL,
    );
    lab.fetch(&lockfile([pin])).unwrap();
    let requests = lab.server.requests();
    assert_eq!(
        (requests.len(), requests[1].sent),
        (2, 40),
        "`If-Range` did not match"
    );
}

#[test]
fn wrong_bytes_from_an_earlier_fetch_are_replaced() {
    let lab = Lab::new();
    let url = lab
        .server
        .route(PATH, TOOL, [Short(16), Short(0), Short(0), Short(0), Good]);
    let pins = lockfile([plain(&[url], TOOL)]);
    lab.fetch(&pins).unwrap_err();
    let partial = lab.cache.root().join("partial").join(digest_of(TOOL).hex());
    fs_err::write(&partial, "damaged by a power loss").unwrap();
    lab.fetch(&pins).unwrap();
    let requests = lab.server.requests();
    let ranges: Vec<_> = requests[4..].iter().map(|r| r.header("range")).collect();
    assert_eq!(ranges, [Some("bytes=23-"), None]);
}
