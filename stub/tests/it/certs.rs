//! Tests of `certs list` and `certs renew`.

use fs_err as fs;

use crate::stage::Stage;

#[test]
fn every_certificate_with_what_it_is_for_and_how_long() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let said = stage.usernetes(&["certs", "list", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let certificates = json["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 18);
    let of = |file: &str| certificates.iter().find(|c| c["file"] == file).unwrap();
    let etcd = of("master/etcd.pem");
    assert_eq!(
        (&etcd["purpose"], &etcd["subject"], &etcd["problem"]),
        (
            &"server-and-client".into(),
            &"CN=etcd".into(),
            &serde_json::Value::Null
        )
    );
    assert!(
        (364..=365).contains(&etcd["days_left"].as_i64().unwrap()),
        "{etcd}"
    );
    assert_eq!(of("node/ca.pem")["purpose"], "authority");

    fs::write(
        stage.home.path().join(".config/usernetes/master/admin.pem"),
        "nonsense",
    )
    .unwrap();
    let said = stage.usernetes(&["certs", "list"]);
    let lines: Vec<_> = said.stdout.lines().collect();
    assert!(
        lines[0].starts_with("file  ") && lines[0].ends_with("days left"),
        "{said:?}"
    );
    assert!(
        lines[1].starts_with("master/admin.pem")
            && lines[1].ends_with("cannot read this certificate"),
        "{said:?}"
    );
    assert_eq!(lines.len(), 19);
}

#[test]
fn renewing_says_what_must_restart_or_restarts_it() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let file = |name: &str| {
        let path = stage
            .home
            .path()
            .join(".config/usernetes/master")
            .join(name);
        fs::read_to_string(path).unwrap()
    };
    let all = || ["etcd.pem", "etcd-key.pem", "ca.pem"].map(file);
    let before = all();
    let said = stage.usernetes(&["certs", "renew"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.starts_with("renewed 14 certificates; "),
        "{said:?}"
    );
    assert!(
        said.stderr.ends_with(
            "no service that uses certificates is running; they use the new ones when they start\n"
        ),
        "{said:?}"
    );
    let after = all();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);

    stage.usernetes(&["start", "u7s-etcd.target"]);
    stage.calls();
    let said = stage.usernetes(&["certs", "renew"]);
    assert!(
        said.stderr
            .ends_with("\n  systemctl --user restart u7s-etcd.service\n"),
        "{said:?}"
    );
    assert_eq!(stage.calls(), "");
    let said = stage.usernetes(&["certs", "renew", "--restart"]);
    assert!(
        said.stderr.ends_with("restarted u7s-etcd.service\n"),
        "{said:?}"
    );
    assert_eq!(stage.calls(), "restart u7s-etcd.service\n");
}
