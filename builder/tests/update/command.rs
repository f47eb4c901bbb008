//! The command itself: exit codes, tables, and what is written when.

use std::process::{Command, Output};

use serde_json::Value;
use stub::digest::Sha256;

use support::server::Server;

/// A checkout's recipes and lockfile, and a server on this machine, which recipes may name without TLS.
struct Place {
    server: Server,
    home: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            server: Server::start(),
            home: tempfile::tempdir().unwrap(),
        };
        fs_err::create_dir(place.home.path().join("recipes")).unwrap();
        let recipe = format!(
            r#"
            summary = "a tool"
            homepage = "https://example.org"
            license = "MIT"
            version = {{ from = "text", url = "{}", tag = "v{{version}}", allow = "~1.2" }}
            [[artifact]]
            urls = ["{}/v{{version}}/tool"]
            format = "plain"
            checks = [{{ by = "sidecar", url = "{{url}}.sha256" }}]
            file = [{{ to = "bin/tool" }}]
            "#,
            place.server.url("/latest"),
            place.server.url(""),
        );
        fs_err::write(place.home.path().join("recipes/tool.toml"), recipe).unwrap();
        place
    }

    fn publish(&self, version: &str) {
        self.server
            .good("/latest", format!("v{version}\n").as_bytes());
        let at = format!("/v{version}/tool");
        self.server.good(&at, version.as_bytes());
        let sum = Sha256::of(version.as_bytes()).to_string();
        self.server.good(&format!("{at}.sha256"), sum.as_bytes());
    }

    fn lock(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let home = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_builder"));
        command
            .arg("lock")
            .args(arguments)
            .arg("--recipes")
            .arg(home.join("recipes"))
            .arg("--lockfile")
            .arg(home.join("lockfile.json"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            // A server on this machine is asked without it, and there is no other.
            .env("http_proxy", format!("http://{}", self.server.nobody()))
            .env_remove("GITHUB_TOKEN");
        command
    }

    fn lockfile(&self) -> Option<String> {
        fs_err::read_to_string(self.home.path().join("lockfile.json")).ok()
    }

    fn shown(&self, bytes: &[u8]) -> String {
        let home = self.home.path().display().to_string();
        String::from_utf8_lossy(bytes)
            .replace(&self.server.host(), "HOST")
            .replace(&home, "HOME")
    }

    /// What it prints, having ended with this code.
    fn prints(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.lock(arguments);
        let said = self.shown(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        self.shown(&output.stdout)
    }
}

#[test]
fn an_update_prints_a_table_and_writes_the_lockfile() {
    let place = Place::new();
    place.publish("1.2.3");
    insta::assert_snapshot!(place.prints(0, &["--update", "--dry-run"]), @r"
    component  version    size   evidence
    tool       – → 1.2.3  +10 B  – → checksums
    1 changed, 0 as before
    HOME/lockfile.json: not written (`--dry-run`)
    ");
    assert_eq!(place.lockfile(), None);
    place.prints(0, &["--update"]);
    place.publish("1.2.40");
    insta::assert_snapshot!(place.prints(0, &["--update"]), @r"
    component  version         size  evidence
    tool       1.2.3 → 1.2.40  +2 B  checksums
    1 changed, 0 as before
    HOME/lockfile.json: 1 component
    ");
    assert!(place.lockfile().unwrap().contains("\"1.2.40\""));
    let json: Value = serde_json::from_str(&place.prints(0, &["--update", "--json"])).unwrap();
    assert_eq!(json[0]["name"], "tool");
    assert_eq!(json[0]["changed"], false);
    assert_eq!(json[0]["evidence"], "checksums");
}

#[test]
fn a_check_has_an_exit_code_of_its_own_when_something_newer_exists() {
    let place = Place::new();
    place.publish("1.2.3");
    place.prints(0, &["--update"]);
    insta::assert_snapshot!(place.prints(0, &["--check"]), @r"
    1 component locked, as the recipes say

    nothing newer upstream
    ");
    place.publish("1.2.4");
    insta::assert_snapshot!(place.prints(8, &["--check"]), @r"
    1 component locked, as the recipes say

    component  locked  newest
    tool       1.2.3   1.2.4

    next:
      builder lock --update
    ");
    assert_eq!(place.shown(&place.lock(&["--check"]).stderr), "");
    let json: Value = serde_json::from_str(&place.prints(8, &["--check", "--json"])).unwrap();
    assert_eq!(json["newer"][0]["newest"], "1.2.4");
    assert_eq!(json["components"], 1);
    // Only `--check` asks, and not with `--offline`.
    let asked = place.server.requests().len();
    place.prints(0, &[]);
    place.prints(0, &["--check", "--offline"]);
    assert_eq!(place.server.requests().len(), asked);
    assert!(place.lockfile().unwrap().contains("\"1.2.3\""));
}

#[test]
fn a_lockfile_with_problems_ends_with_3_before_anybody_is_asked() {
    let place = Place::new();
    fs_err::write(
        place.home.path().join("lockfile.json"),
        r#"{"components":{},"schema":1}"#,
    )
    .unwrap();
    let text = place.prints(3, &["--check"]);
    assert!(text.contains("not locked"), "{text}");
    assert!(place.server.requests().is_empty());
}

#[test]
fn a_failed_update_leaves_the_lockfile_alone() {
    let place = Place::new();
    place.publish("1.2.4");
    place.prints(0, &["--update"]);
    let before = place.lockfile();
    place.publish("1.2.3");
    place.prints(4, &["--update"]);
    assert_eq!(place.lockfile(), before);
    assert!(
        place
            .prints(0, &["--update", "--allow-downgrade"])
            .contains("1.2.4 → 1.2.3")
    );
    assert_eq!(place.lock(&["--dry-run"]).status.code(), Some(2));
    let offline = place.lock(&["--update", "--offline"]);
    assert_eq!(offline.status.code(), Some(2));
}

#[test]
fn what_stays_unpinned_is_named_and_no_success() {
    let place = Place::new();
    place.server.good("/latest", b"v1.2.3\n");
    place.server.good("/v1.2.3/tool", b"1.2.3");
    let output = place.lock(&["--update"]);
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!(place.shown(&output.stderr), @r"
    tool 1.2.3: resolved
    note: tool 1.2.3 (aarch64): there is no http://HOST/v1.2.3/tool.sha256
    note: tool 1.2.3 (aarch64): upstream publishes no digest of http://HOST/v1.2.3/tool: it stays unpinned
    note: tool 1.2.3 (x86_64): there is no http://HOST/v1.2.3/tool.sha256
    note: tool 1.2.3 (x86_64): upstream publishes no digest of http://HOST/v1.2.3/tool: it stays unpinned
    note: release date unknown: tool
    error: these downloads are still unpinned, and nothing is built from them
      tool  http://HOST/v1.2.3/tool

    hint: see the notes above; add a check to the recipe for a digest or signature that upstream publishes
    ");
    // What is known is written all the same, and asking again is no success either.
    assert!(place.lockfile().unwrap().contains("\"1.2.3\""));
    assert_eq!(place.lock(&["--update"]).status.code(), Some(3));
}

/// A recipe whose upstream is elsewhere, asked with these variables in the environment. Gives what is said, which is the
/// network's fault or this machine's.
fn asked_elsewhere(upstream: &str, code: i32, variables: &[(&str, String)]) -> (Place, String) {
    let place = Place::new();
    let recipe = place.home.path().join("recipes/tool.toml");
    let text = fs_err::read_to_string(&recipe).unwrap();
    let text = text.replace(&place.server.url(""), upstream);
    fs_err::write(recipe, text).unwrap();
    let mut command = place.command(&["--update"]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let said = place.shown(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(place.lockfile(), None);
    (place, said)
}

#[test]
fn a_proxy_that_fails_is_named_with_the_variable_that_names_it() {
    let server = Server::start();
    let nobody = format!("http://user:secret@{}", server.nobody());
    let (_, said) = asked_elsewhere("https://upstream.example", 5, &[("all_proxy", nobody)]);
    let shown = said.replace(&server.nobody().to_string(), "NOBODY");
    insta::assert_snapshot!(shown, @r"
    error: tool: https://upstream.example/latest: cannot be fetched
      reason  cannot connect to the proxy NOBODY, which all_proxy names: Connection refused (os error 111)

    hint: check the network, the proxy settings in the environment, and the address
    ");
    // It is there, and does not know such hosts.
    let proxy = server.url("");
    let (_, said) = asked_elsewhere("https://upstream.example", 5, &[("HTTPS_PROXY", proxy)]);
    let shown = said.replace(&server.host(), "PROXY");
    insta::assert_snapshot!(shown, @r"
    error: tool: https://upstream.example/latest: cannot be fetched
      reason  the proxy PROXY, which HTTPS_PROXY names, does not connect us to upstream.example: tunnel error: unsuccessful

    hint: check the network, the proxy settings in the environment, and the address
    ");
}

#[test]
fn certificates_that_are_not_there_are_named_with_their_variable() {
    let empty = tempfile::tempdir().unwrap();
    let at = empty.path().display().to_string();
    let variables = [
        ("SSL_CERT_DIR", at.clone()),
        ("SSL_CERT_FILE", format!("{at}/ca.pem")),
    ];
    let (_, said) = asked_elsewhere("https://upstream.example", 6, &variables);
    insta::assert_snapshot!(said.replace(&at, "DIR"), @r"
    error: tool: cannot set up HTTPS: unexpected error: No CA certificates were loaded from the system
      SSL_CERT_FILE  DIR/ca.pem: No such file or directory (os error 2)
      SSL_CERT_DIR   DIR: there is no certificate in it

    hint: correct SSL_CERT_FILE and SSL_CERT_DIR in the environment, or remove them from it to use the system's certificates
    ");
}
