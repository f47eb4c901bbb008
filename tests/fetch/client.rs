//! Small documents: what `lock` and others ask for.

use stub::error::Kind;

use super::server::Behaviour;
use super::server::Behaviour::{Endless, Good, Short, Status};
use super::*;

const PATH: &str = "/InRelease";

#[test]
fn a_document_comes_whole_or_not_at_all() {
    let lab = Lab::new();
    let url = lab.server.good(PATH, b"twelve bytes");
    assert_eq!(lab.client.get(&url, 12).unwrap(), b"twelve bytes");
    let agent = lab.server.requests()[0]
        .header("user-agent")
        .unwrap()
        .to_owned();
    assert_eq!(
        agent,
        format!("usernetes-builder/{}", env!("CARGO_PKG_VERSION"))
    );
    let error = lab.client.get(&url, 11).unwrap_err();
    assert!(
        error.to_string().contains("longer than 11 bytes"),
        "{error}"
    );
    let endless = lab.server.route("/endless", b"", [Endless]);
    let error = lab.client.get(&endless, 100).unwrap_err();
    assert!(
        error.to_string().contains("longer than 100 bytes"),
        "{error}"
    );
    let short = lab
        .server
        .route("/short", b"twelve bytes", [Short(3), Good]);
    assert_eq!(lab.client.get(&short, 12).unwrap(), b"twelve bytes");
}

#[test]
fn other_statuses_are_errors_unless_they_are_asked_for() {
    let lab = Lab::new();
    let url = lab.server.url("/nothing");
    let error = lab.client.get(&url, 1).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    insta::assert_snapshot!(lab.shown(&error), @r"
    http://HOST/nothing: cannot be fetched
      reason  404 Not Found

    hint: check the network, the proxy settings in the environment, and the address
    ");
    assert_eq!(lab.client.get_with(&url, &[], 1).unwrap().status, 404);
    let page = Status(304, Some(("Link", "<next>; rel=\"next\"".to_owned())));
    let url = lab.server.route("/tags", b"", [page]);
    let response = lab
        .client
        .get_with(&url, &[("If-None-Match", "\"1\"")], 1)
        .unwrap();
    assert_eq!(
        (response.status, response.header("link")),
        (304, Some("<next>; rel=\"next\""))
    );
    assert_eq!(
        lab.server.requests_for("/tags")[0].header("if-none-match"),
        Some("\"1\"")
    );
}

#[test]
fn a_document_is_asked_for_again_when_that_may_help() {
    let lab = Lab::new();
    let trouble = Behaviour::status(503);
    let url = lab.server.route(PATH, b"x", [trouble.clone(), Good]);
    assert_eq!(lab.client.get(&url, 1).unwrap(), b"x");
    assert_eq!(lab.waits().len(), 1);
    let url = lab.server.route(PATH, b"x", [trouble]);
    let error = lab.client.get_with(&url, &[], 1).unwrap_err().to_string();
    assert!(
        error.contains("503 Service Unavailable (4 tries)"),
        "{error}"
    );
    let error = lab.client.get("nonsense", 1).unwrap_err().to_string();
    assert!(
        error.contains("nonsense") && error.contains("not a URL"),
        "{error}"
    );
}
