//! Tests of commands after the first `install`: a second install, upgrade, start, stop, status, uninstall.

use std::os::unix::net::UnixListener;

use fs_err as fs;

use support::stage::{Stage, pack};

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
    // These files are missing if `install` was interrupted after it wrote the receipt.
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
    daemon-reload
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
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
    let (layers, facts) = said.stdout.split_once("\n\n").unwrap();
    insta::assert_snapshot!(layers, @r"
    generation 1 (release 0.1.0)
    host         ok  your service manager answers
    RootlessKit  ok  u7s-rootlesskit.service active
    etcd         ok  u7s-etcd.service active
    ports        ok  0 published
    ");
    let facts: Vec<_> = facts.lines().collect();
    assert!(facts[0].starts_with("certificates  ok  36"), "{facts:?}");
    assert!(facts[1].starts_with("authorities   ok  36"), "{facts:?}");
    assert!(
        facts[2].starts_with("disk  ") && facts[2].contains(" free"),
        "{facts:?}"
    );
    stage.calls();
    assert_eq!(stage.usernetes(&["stop"]).code, Some(0));
    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let (layers, rest) = said.stdout.split_once("\n\n").unwrap();
    insta::assert_snapshot!(layers, @r"
    generation 1 (release 0.1.0)
    host         ok       your service manager answers
    RootlessKit  stopped  u7s-rootlesskit.service inactive
    ");
    assert!(rest.contains("\nnext: run `usernetes start`\n"), "{rest}");
    // A unit that was stopped has nothing to explain.
    assert!(!rest.contains("last lines"), "{rest}");
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    assert_eq!(stage.usernetes(&["restart", "etcd"]).code, Some(0));
    assert_eq!(
        stage.usernetes(&["logs", "etcd", "-n", "5"]).stdout,
        "etcd: out of luck\n"
    );
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    restart u7s-etcd.service
    journalctl --user --no-pager --unit u7s-etcd.service --lines 5
    ");
    let said = stage.usernetes(&["logs", "containerd", "etcd", "--since=2026-11-27", "-f"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    stage.usernetes(&["logs"]);
    insta::assert_snapshot!(stage.calls(), @r"
    journalctl --user --no-pager --unit u7s-etcd.service --unit u7s-rootlesskit.service --follow --since=@1795737600
    journalctl --user --no-pager --unit u7s*
    ");
    let said = stage.usernetes(&["logs", "docker"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    for part in [
        "there is no component \"docker\"",
        "kube-apiserver",
        "containerd, crio",
    ] {
        assert!(said.stderr.contains(part), "{said:?}");
    }
    let said = stage.usernetes(&["start", "kubernetes"]);
    assert!(
        said.stderr.contains("there is no unit \"kubernetes\""),
        "{said:?}"
    );
}

#[test]
fn status_waits_and_then_shows_the_one_broken_layer_with_its_log() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let said = stage.usernetes(&["status", "--wait"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.starts_with("cluster: every layer works"),
        "{said:?}"
    );
    fs::write(stage.home.path().join("state/u7s-etcd.service"), "failed").unwrap();
    stage.calls();
    let said = stage.usernetes(&["status", "--wait=1"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr
            .contains("cluster: etcd broken: u7s-etcd.service failed"),
        "{said:?}"
    );
    assert!(
        said.stdout
            .contains("\nthe last lines of u7s-etcd.service:\n  etcd: out of luck\n"),
        "{said:?}"
    );
    let asked = "journalctl --user --no-pager --unit u7s-etcd.service --boot --output=cat --quiet --lines 10\n";
    assert_eq!(stage.calls(), asked);
    let said = stage.usernetes(&["status", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["broken"]["name"], "etcd");
    assert_eq!(json["broken"]["unit"], "u7s-etcd.service");
    assert_eq!(json["broken"]["log"][0], "etcd: out of luck");
    assert_eq!(json["ports"][0]["port"], "127.0.0.1:6443:6443/tcp");
    assert_eq!(json["ports"][0]["open"], false);
    assert!(json["disk"]["size"].as_u64() > Some(0));
    // It becomes well while somebody waits.
    let state = stage.home.path().join("state/u7s-etcd.service");
    let mending = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        fs::write(state, "active").unwrap();
    });
    let said = stage.usernetes(&["status", "--wait=60", "--json"]);
    mending.join().unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// As after a later release was installed, and its `usernetes` was replaced by hand.
#[test]
fn units_of_another_release_are_stopped_and_removed_with_ours() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let text = "[Service]\nExecStart=/later\n";
    fs::write(stage.units().join("u7s-mirror.service"), text).unwrap();
    let file = stage.home.data().join("installed.json");
    let mut receipt: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let digest = stub::digest::Sha256::of(text.as_bytes()).to_string();
    receipt["units"]["u7s-mirror.service"] = serde_json::json!([digest]);
    fs::write(&file, receipt.to_string()).unwrap();
    let state = stage.home.path().join("state/u7s-mirror.service");
    fs::write(&state, "active").unwrap();
    stage.home.give(&state);
    stage.calls();
    assert_eq!(stage.usernetes(&["stop"]).code, Some(0));
    insta::assert_snapshot!(stage.calls(), @"stop --no-block u7s-mirror.service u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service");
    fs::write(&state, "active").unwrap();
    let said = stage.usernetes(&["uninstall"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        stage
            .calls()
            .starts_with("stop --no-block u7s-mirror.service\n")
    );
    assert_eq!(stage.names(".config/systemd"), [""; 0]);
}

#[test]
fn a_stopped_service_stays_stopped_and_start_brings_it_back() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    stage.calls();
    let said = stage.usernetes(&["stop", "etcd"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.starts_with(
            "stopped u7s-etcd.target as well, because it would start u7s-etcd.service again at once"
        ),
        "{said:?}"
    );
    // Nothing would start it again now, so there is no note.
    assert_eq!(stage.usernetes(&["stop", "etcd"]).stderr, "");
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    let said = stage.usernetes(&["stop", "rootlesskit"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("so everything stops\n"), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    stop --job-mode=ignore-dependencies u7s-etcd.target
    stop u7s-etcd.service
    stop u7s-etcd.service
    start --no-block u7s-etcd.target
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    ");
}

#[test]
fn what_took_too_long_to_stop_does_not_keep_it_from_starting() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    fs::write(stage.home.path().join("hanging"), "u7s-etcd.service\n").unwrap();
    stage.calls();
    let said = stage.usernetes(&["restart"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    // An earlier failure to stop must not make this start fail.
    assert_eq!(stage.usernetes(&["stop", "etcd"]).code, Some(0));
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    reset-failed u7s-etcd.service
    start --no-block u7s-etcd.target
    stop --job-mode=ignore-dependencies u7s-etcd.target
    stop u7s-etcd.service
    reset-failed u7s-etcd.service
    start --no-block u7s-etcd.target
    ");
}

#[test]
fn what_was_stopped_and_started_again_is_not_stale() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let said = stage.install(&["--start=", "--cidr=10.0.99.0/24"]);
    assert!(
        said.stderr
            .contains("its settings or units have been updated"),
        "{said:?}"
    );
    // The running services still have the old settings, so there is something to do.
    let said = stage.install(&["--start="]);
    assert!(!said.stderr.contains("nothing to do"), "{said:?}");
    stage.usernetes(&["stop"]);
    stage.usernetes(&["start", "u7s-etcd.target"]);
    let said = stage.install(&["--start="]);
    assert!(said.stderr.contains("nothing to do"), "{said:?}");
}

#[test]
fn one_service_is_started_beside_what_runs() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    stage.calls();
    let said = stage.install(&["--start=u7s-rootlesskit.service", "--cidr=10.0.99.0/24"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    start --no-block u7s-rootlesskit.service u7s-etcd.target
    ");
}

#[test]
fn an_edited_configuration_takes_effect_with_the_next_install() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let edited = text.replace("10.0.0.0/24", "10.96.0.0/24");
    fs::write(&file, edited.replace("u7s-etcd.target", "u7s.target")).unwrap();
    stage.calls();
    // Neither starting the cluster nor publishing a port applies the edited configuration.
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    assert_eq!(stage.calls(), "start --no-block u7s-etcd.target\n");
    let port = "0.0.0.0:30080:30080/tcp";
    assert_eq!(stage.usernetes(&["port", "publish", port]).code, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("10.96.0.0/24") && text.contains(port),
        "{text}"
    );
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr
            .contains("`network.services` of an existing cluster cannot be changed"),
        "{said:?}"
    );
}

#[test]
fn a_rollback_that_cannot_be_installed_changes_nothing() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let next = stage.home.program("next", &pack("0.2.0", &["etcd"]));
    let said = stage
        .home
        .run_command(stage.command(&next).args(["install", "--force"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let key = stage
        .home
        .path()
        .join(".config/usernetes/master/ca-key.pem");
    let good = fs::read(&key).unwrap();
    fs::write(&key, "nonsense").unwrap();
    let said = stage.usernetes(&["rollback"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(stage.home.current().number(), 2);
    fs::write(&key, good).unwrap();
    let said = stage.usernetes(&["rollback"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("generation 1 (release 0.1.0) existed already and is now the current one"),
        "{said:?}"
    );
    let unit = fs::read_to_string(stage.units().join("u7s-etcd.service")).unwrap();
    assert!(unit.contains("generations/1/bin/usernetes"), "{unit}");
}

#[test]
fn a_new_kubeconfig_may_be_named_relative_to_the_current_directory() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let program = stage.home.data().join("current/bin/usernetes");
    let mut command = stage.command(&program);
    command
        .env("KUBECONFIG", "own")
        .current_dir(stage.home.path());
    let said = stage
        .home
        .run_command(command.args(["kubeconfig", "merge"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = fs::read_to_string(stage.home.path().join("own")).unwrap();
    assert!(
        text.contains("server: https://127.0.0.1:6443\n  name: usernetes\n"),
        "{text}"
    );
}

#[test]
fn port_and_kubeconfig_commands_work_on_a_stopped_cluster() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    // A RootlessKit that was killed leaves such a socket behind, on which nothing listens.
    let dead = stage.home.path().join("run/usernetes/rootlesskit");
    fs::create_dir_all(&dead).unwrap();
    drop(UnixListener::bind(dead.join("api.sock")).unwrap());
    let program = stage.home.data().join("current/bin/usernetes");
    let mut command = stage.command(&program);
    command.env("XDG_RUNTIME_DIR", stage.home.path().join("run"));
    let said = stage
        .home
        .run_command(command.args(["port", "publish", "0.0.0.0:30080:30080/tcp"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = stage.usernetes(&["port", "list"]);
    assert_eq!(
        said.stdout,
        "127.0.0.1:6443:6443/tcp\n0.0.0.0:30080:30080/tcp\n"
    );
    // `install` does not have to apply a port that was published by a command.
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
