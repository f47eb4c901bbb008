//! Proxies: never between us and this machine. The command itself is run, because proxies come from its environment.

use std::process::{Command, Output};

use super::images::TestImage;
use super::*;
use support::server::Behaviour::{Good, Redirect};

const CONTENT: &[u8] = b"a program";

/// Every variable that names a proxy, in the spellings that curl and others read.
const VARIABLES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// `builder fetch` with this proxy in all of its environment.
fn fetch_by_proxy(lab: &Lab, proxy: &str, lockfile: &Lockfile, arguments: &[&str]) -> Output {
    let path = lab.home.path().join("lockfile.json");
    lockfile.write(&path).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_builder"));
    command.args(["fetch", "--arch", "x86_64", "--lockfile"]);
    command.arg(path).args(arguments);
    command.env("XDG_CACHE_HOME", lab.home.path().join("user"));
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    for variable in VARIABLES {
        command.env(variable, proxy);
    }
    command.output().unwrap()
}

fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn this_machine_is_asked_without_a_proxy() {
    let (lab, proxy) = (Lab::new(), Server::start());
    let image = TestImage::new();
    image.publish(&lab.server, &lab.server);
    let port = lab.server.host();
    let port = port.rsplit(':').next().unwrap();
    lab.server.good("/a/1.2.3", CONTENT);
    lab.server.good("/b/1.2.3", b"another");
    let pins = lockfile([
        plain(&[format!("http://localhost:{port}/a/1.2.3")], CONTENT),
        plain(
            &[format!("http://[::ffff:127.0.0.1]:{port}/b/1.2.3")],
            b"another",
        ),
        image.pin(&lab.server),
    ]);
    succeeded(&fetch_by_proxy(&lab, &proxy.url(""), &pins, &[]));
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn a_redirect_to_this_machine_leaves_the_proxy_and_one_away_from_it_takes_it() {
    let (lab, proxy) = (Lab::new(), Server::start());
    let key = digest_of(CONTENT).hex();
    let at = format!("/sha256/{}/{key}", &key[..2]);
    // A proxy is asked with the whole address.
    let outside = format!("http://mirror.example{at}");
    proxy.route(&outside, CONTENT, [Redirect(lab.server.url("/here")), Good]);
    lab.server.good("/here", CONTENT);
    let pins = lockfile([plain(&["http://nowhere.example/1.2.3".to_owned()], CONTENT)]);
    let mirror = ["--mirror", "http://mirror.example"];
    succeeded(&fetch_by_proxy(&lab, &proxy.url(""), &pins, &mirror));
    assert_eq!(lab.server.requests_for("/here").len(), 1);
    assert_eq!(proxy.requests().len(), 1);

    let lab = Lab::new();
    lab.server.route(&at, b"", [Redirect(outside)]);
    let mirror = ["--mirror", &lab.server.url("")];
    succeeded(&fetch_by_proxy(&lab, &proxy.url(""), &pins, &mirror));
    assert_eq!(proxy.requests().len(), 2);
}

#[test]
fn plain_http_does_not_leave_this_machine_for_what_no_digest_is_known_of() {
    let lab = Lab::new();
    let away = "http://192.0.2.1/token";
    let redirect = lab
        .server
        .route("/latest", b"", [Redirect(away.to_owned())]);
    for url in [away, &redirect] {
        let error = lab.client.get(url, 100).unwrap_err().to_string();
        let why = format!(
            "{away} is plain HTTP, and a file without a known digest may come over plain HTTP only from this machine"
        );
        assert!(error.contains(&why), "{error}");
    }
    assert!(lab.client.head(&redirect).is_err());
    assert!(lab.waits().is_empty());
}
