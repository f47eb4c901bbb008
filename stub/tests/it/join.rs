//! Tests of `join`, `token` and `node` where no other machine is needed: everything that they refuse, and that nothing is left.

use std::net::{Ipv4Addr, TcpListener};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use support::home::Home;
use support::pack::Recipe;

/// Writes a token for an API server at this port into a file, and gives its path.
fn token(home: &Home, port: u16) -> String {
    let digest = "0".repeat(64);
    let json = format!(
        r#"{{"e":["127.0.0.1:{port}"],"c":"{digest}","i":"abcdef","s":"0123456789abcdef"}}"#
    );
    written(home, &format!("u7s1.{}\n", URL_SAFE_NO_PAD.encode(json)))
}

fn written(home: &Home, text: &str) -> String {
    let file = home.path().join("token");
    fs_err::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_text_that_is_no_token_is_refused_and_not_repeated() {
    let home = Home::new();
    let file = written(&home, "password\n");
    let said = home.usernetes(&["join", &file]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("this is not a token"), "{said:?}");
    assert!(said.stderr.contains("usernetes token create"), "{said:?}");
    assert!(!said.stderr.contains("password"), "{said:?}");
    assert!(!home.data().exists());
}

#[test]
fn an_api_server_that_does_not_answer_is_named() {
    let home = Home::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let said = home.usernetes(&["join", &token(&home, port)]);
    assert_eq!(said.code, Some(5), "{said:?}");
    let message = format!("error: 127.0.0.1:{port} does not answer");
    assert!(said.stderr.contains(&message), "{said:?}");
    assert!(said.stderr.contains("8472/udp"), "{said:?}");
    assert!(!said.stderr.contains("0123456789abcdef"), "{said:?}");
    assert!(!home.data().exists());
}

#[test]
fn before_an_installation_there_are_no_tokens_and_no_nodes() {
    let home = Home::new();
    home.install(&Recipe::new("0.1.0", "3.5.30").pack());
    for command in [
        &["token", "create"][..],
        &["token", "list"],
        &["node", "list"],
    ] {
        let said = home.usernetes(command);
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.stderr.contains("usernetes install"), "{said:?}");
    }
}
