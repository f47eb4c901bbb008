//! Small documents: what `lock` and others ask for.

use stub::error::Kind;

use super::*;
use support::server::Behaviour;
use support::server::Behaviour::{Endless, Good, Short, Status};

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

#[test]
fn the_sentence_in_an_error_is_shown_whoever_sends_it() {
    let lab = Lab::new();
    let denied =
        r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let gone = r#"{"type":"about:blank","title":"Gone","detail":"The file was withdrawn."}"#;
    let busy = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    for (status, body, said) in [
        (
            403,
            denied,
            "403 Forbidden: requested access to the resource is denied",
        ),
        (410, gone, "410 Gone: The file was withdrawn."),
        (
            503,
            busy,
            "503 Service Unavailable: Reduce your request rate. (4 tries)",
        ),
    ] {
        let answer = Behaviour::Answer(status, Vec::new());
        let url = lab.server.route("/1.2.3", body.as_bytes(), [answer]);
        // However short the document that was hoped for.
        let error = lab.client.get(&url, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("reason  {said}\n")), "{error}");
        let error = lab.fetch(&lockfile([plain(&[url], b"x")])).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let login = Behaviour::Answer(511, Vec::new());
    let long = "x".repeat(1 << 20);
    let url = lab.server.route("/long", long.as_bytes(), [login]);
    let error = lab.client.get(&url, 1).unwrap_err().to_string();
    assert!(
        error.contains("511 Network Authentication Required: xxx"),
        "{error}"
    );
    assert!(error.len() < 600, "{error}");
}

#[test]
fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let lab = Lab::new();
    let url = lab.server.url(PATH).replace("http:", "https:");
    let error = lab.shown(&lab.client.get(&url, 1).unwrap_err());
    assert!(
        error.contains("reason  no TLS connection to HOST: "),
        "{error}"
    );
    let nobody = format!("https://{}/", lab.server.nobody());
    let error = lab.client.get(&nobody, 1).unwrap_err().to_string();
    assert!(error.contains("cannot connect to 127.0.0.2:"), "{error}");
}
