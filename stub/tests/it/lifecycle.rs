//! What comes after the first `install`: again, upgrade, start, stop, status, uninstall.

use fs_err as fs;

use crate::stage::{Stage, pack};

const CONTROL_PLANE: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

#[test]
fn half_an_installation_is_completed_or_removed() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    // As if it had ended between the receipt and the units.
    fs::remove_file(stage.units().join("u7s-etcd.service")).unwrap();
    fs::remove_dir_all(stage.home.path().join(".config/usernetes/node")).unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(stage.units().join("u7s-etcd.service").exists());
    fs::remove_file(stage.units().join("u7s-etcd.service")).unwrap();
    fs::remove_file(stage.home.path().join(".config/usernetes/config.toml")).unwrap();
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = stage.home.run(&stage.bundle, &["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "no units were installed\nremove data: done (0.0 s)\neverything was removed\n"
    );
}

#[test]
fn an_upgrade_restarts_and_keeps_settings() {
    let stage = Stage::new(&CONTROL_PLANE);
    stage.install(&["--start=u7s-etcd.target", "--cidr=10.0.77.0/24"]);
    stage.calls();
    let next = stage.home.program("next", &pack("0.2.0", &CONTROL_PLANE));
    let said = stage
        .home
        .run_command(stage.command(&next).args(["install", "--force"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    enable u7s-etcd.target
    daemon-reload
    stop --no-block u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    ");
    let unit = fs::read_to_string(stage.units().join("u7s-etcd.service")).unwrap();
    assert!(unit.contains("generations/2/bin/usernetes"), "{unit}");
    let config =
        fs::read_to_string(stage.home.path().join(".config/usernetes/config.toml")).unwrap();
    assert!(config.contains("10.0.77.0/24"));
}

#[test]
fn start_stop_status_and_logs() {
    let stage = Stage::new(&["etcd"]);
    let said = stage.home.usernetes(&["status"]);
    assert!(said.stderr.contains("nothing is installed"), "{said:?}");
    stage.install(&[]);
    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(said.stdout, @r"
    generation 1 (release 0.1.0)
    host         ok  your service manager answers
    RootlessKit  ok  u7s-rootlesskit.service active
    etcd         ok  u7s-etcd.service active
    ");
    stage.calls();
    assert_eq!(stage.usernetes(&["stop"]).code, Some(0));
    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    insta::assert_snapshot!(said.stdout, @r"
    generation 1 (release 0.1.0)
    host         ok       your service manager answers
    RootlessKit  stopped  u7s-rootlesskit.service inactive
    next: run `usernetes start`
    ");
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    assert_eq!(stage.usernetes(&["restart", "etcd"]).code, Some(0));
    assert_eq!(
        stage.usernetes(&["logs", "etcd", "-n", "5"]).stdout,
        "etcd: out of luck\n"
    );
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    restart u7s-etcd.service
    journalctl --user --no-pager --unit u7s-etcd.service --lines 5
    ");
    let said = stage.usernetes(&["start", "kubernetes"]);
    assert!(
        said.stderr.contains("there is no unit \"kubernetes\""),
        "{said:?}"
    );
}

#[test]
fn ports_and_kubeconfig() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    assert_eq!(
        stage
            .usernetes(&["port", "publish", "0.0.0.0:30080:30080/tcp"])
            .code,
        Some(0)
    );
    let said = stage.usernetes(&["port", "list"]);
    assert_eq!(
        said.stdout,
        "127.0.0.1:6443:6443/tcp\n0.0.0.0:30080:30080/tcp\n"
    );
    // What was published by command is nothing that `install` would have to apply.
    let said = stage.install(&["--start="]);
    assert!(!said.stderr.contains("changed  publish"), "{said:?}");
    assert_eq!(
        stage
            .usernetes(&["port", "unpublish", "0.0.0.0:30080:30080/tcp"])
            .code,
        Some(0)
    );
    assert_eq!(
        stage.usernetes(&["port", "list"]).stdout,
        "127.0.0.1:6443:6443/tcp\n"
    );
    let said = stage.usernetes(&["kubeconfig", "print"]);
    assert!(said.stdout.contains("https://127.0.0.1:6443"), "{said:?}");
    let said = stage.usernetes(&["kubectl", "get", "pods"]);
    assert!(
        said.stderr.contains("generation 1 has no `kubectl`"),
        "{said:?}"
    );
    let said = stage.usernetes(&["nsenter", "true"]);
    assert!(
        said.stderr.contains("RootlessKit is not running"),
        "{said:?}"
    );
}

#[test]
fn the_cleanup_command_removes_all_data() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    stage.usernetes(&["uninstall"]);
    let said = stage.usernetes(&["show-cleanup-command"]);
    assert_eq!(
        said.stdout,
        "$HOME/.local/share/usernetes/generations/1/bin/rootlesskit rm -rf -- $HOME/.local/share/usernetes $HOME/.config/usernetes\n"
    );
}

#[test]
fn doctor_shows_everything_at_once() {
    let stage = Stage::new(&["etcd"]);
    let said = stage
        .home
        .run_command(stage.command(&stage.bundle).args(["doctor", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let ids: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["id"].as_str().unwrap().to_owned())
        .collect();
    for id in [
        "user",
        "systemd-user",
        "cgroup-v2",
        "subuid",
        "user-namespaces",
        "kernel-network",
        "tun",
        "data-dir",
        "ports",
        "networks",
    ] {
        assert!(ids.iter().any(|found| found == id), "{id}: {ids:?}");
    }
    let fatal = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|f| f["level"] == "fatal");
    assert_eq!(said.code, Some(if fatal { 6 } else { 0 }));
    assert!(!stage.home.data().exists());
}
