//! Tests of `install`, and of the faults that it finds before it changes anything.

use std::os::unix::fs::PermissionsExt;

use fs_err as fs;

use support::home::is_root;
use support::stage::Stage;

#[test]
fn from_nothing_to_etcd_and_back() {
    let stage = Stage::new(&["etcd"]);
    let before = stage.names("");
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("u7s-etcd.target is up\n"), "{said:?}");
    assert!(said.stderr.contains("this bundle has no kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy\n"), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    loginctl --no-ask-password enable-linger
    start --no-block u7s-etcd.target
    ");
    assert!(stage.units().join("u7s-rootlesskit.service").exists());
    let config = stage.home.path().join(".config/usernetes");
    assert!(config.join("master/admin-localhost.kubeconfig").exists());
    for private in [config.clone(), config.join("master"), config.join("node")] {
        let mode = fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", private.display());
    }

    let again = stage.install(&[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        again
            .stderr
            .contains("is unchanged: there was nothing to do"),
        "{again:?}"
    );
    assert_eq!(stage.calls(), "");

    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    daemon-reload
    loginctl --no-ask-password disable-linger
    ");
    // The files of the fake service manager were there before, too.
    assert_eq!(stage.names(""), before);
}

#[test]
fn without_a_service_manager_everything_but_starting_is_done() {
    let stage = Stage::new(&["etcd"]);
    let said = stage.home.run(&stage.bundle, &["install", "--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("nothing was started"), "{said:?}");
    assert!(stage.units().join("u7s-etcd.service").exists());
    let said = stage
        .home
        .run(&stage.bundle, &["install", "--start=u7s-etcd.target"]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(
        said.stderr
            .contains("must be fixed before a cluster can run here"),
        "{said:?}"
    );
    let said = stage.home.run(&stage.bundle, &["uninstall"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.names(".config/systemd"), Vec::<String>::new());
}

#[test]
fn a_budget_is_kept_and_becomes_a_limit_of_the_slice() {
    let stage = Stage::new(&["etcd"]);
    let slice = || fs::read_to_string(stage.units().join("u7s.slice")).unwrap();
    assert_eq!(stage.install(&["--start="]).code, Some(0));
    assert!(!slice().contains("MemoryMax"), "{}", slice());
    let unit = fs::read_to_string(stage.units().join("u7s-etcd.service")).unwrap();
    assert!(unit.contains("\nSlice=u7s.slice\n"), "{unit}");
    let said = stage.install(&["--start=", "--memory=12GiB", "--cpus=2.5"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for change in [
        "resources.memory: \"\" → 12GiB",
        "resources.cpus: \"\" → 2.5",
    ] {
        assert!(said.stderr.contains(change), "{said:?}");
    }
    // Without flags, it stays.
    assert_eq!(stage.install(&["--start="]).code, Some(0));
    assert!(
        slice().contains("MemoryMax=12288M\nCPUQuota=250%\n"),
        "{}",
        slice()
    );
    let refused = stage.install(&["--memory=12GB"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("the unit `GB`"), "{refused:?}");
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
    assert!(!stage.units().join("u7s.slice").exists());
}

/// Every pod has the address in its `resolv.conf`, so it may not change with a release.
#[test]
fn the_name_server_of_an_existing_cluster_keeps_its_address() {
    let stage = Stage::new(&["etcd"]);
    assert_eq!(stage.install(&["--start="]).code, Some(0));
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let new = fs::read_to_string(&file).unwrap();
    assert!(new.contains("\ndns = 10\n"), "{new}");
    // As an earlier release wrote it.
    let (head, _) = new.split_once("\n# How much of this machine").unwrap();
    fs::write(&file, head.replace("dns = 10\n", "")).unwrap();
    let receipt = stage.home.data().join("installed.json");
    let mut installed: serde_json::Value =
        serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    installed["config"] = fs::read_to_string(&file).unwrap().into();
    fs::write(&receipt, installed.to_string()).unwrap();
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    let said = stage.install(&["--start=", "--memory=2GiB"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.contains("\ndns = 53\n"), "{kept}");
    // Nor may a person change it.
    fs::write(&file, kept.replace("dns = 53", "dns = 10")).unwrap();
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr
            .contains("`network.dns` of an existing cluster cannot be changed"),
        "{said:?}"
    );
}

#[test]
fn nothing_to_start_needs_no_lingering() {
    let stage = Stage::new(&["etcd"]);
    assert_eq!(stage.install(&["--start="]).code, Some(0));
    assert_eq!(stage.calls(), "daemon-reload\n");
}

#[test]
fn units_must_be_where_the_service_manager_looks() {
    let stage = Stage::new(&["etcd"]);
    let mut command = stage.command(&stage.bundle);
    command.env("XDG_CONFIG_HOME", stage.home.path().join("other"));
    let said = stage.home.run_command(command.args(["install", "--force"]));
    assert_eq!(said.code, Some(6), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: your service manager does not look for units in $HOME/other/systemd/user
      expected  HOME and XDG_CONFIG_HOME to be the same for it as here
      found     it looks into /run/systemd/user, $HOME/.config/systemd/user

    hint: unset XDG_CONFIG_HOME for this command, or set it for your service manager as well: in a file below ~/.config/environment.d; if your home was moved, log in again
    ");
    assert!(!stage.home.data().exists() && !stage.home.path().join("other").exists());
    assert_eq!(stage.calls(), "");
}

#[test]
fn a_configuration_directory_of_another_user_is_found_before_unpacking() {
    let stage = Stage::new(&["etcd"]);
    let config = stage.home.path().join(".config");
    let refused = || {
        let said = stage.install(&[]);
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(!stage.home.data().exists());
        said.stderr
    };
    if is_root() {
        // An earlier command under `sudo` may have left such a directory behind.
        fs::create_dir(&config).unwrap();
        let text = refused();
        assert!(
            text.starts_with("error: the directory $HOME/.config belongs to another user\n"),
            "{text}"
        );
        fs::remove_dir(&config).unwrap();
    }
    let made = stage.home.run_command(
        stage
            .command("/bin/mkdir".as_ref())
            .args(["-m", "500", "-p"])
            .arg(config.join("systemd/user")),
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = refused();
    assert!(
        text.starts_with("error: $HOME/.config/systemd/user is not writable\n"),
        "{text}"
    );
}

#[test]
fn other_settings_are_named_and_applied() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    stage.calls();
    let said = stage.install(&[
        "--cidr=10.0.99.0/24",
        "--services=10.96.0.0/16",
        "--pods=10.99.0.0/16",
        "-p",
        "0.0.0.0:30080:30080/tcp",
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let changes: Vec<_> = said
        .stderr
        .lines()
        .filter(|l| l.starts_with("changed"))
        .collect();
    assert_eq!(
        changes,
        [
            "changed  publish: 127.0.0.1:6443:6443/tcp → 127.0.0.1:6443:6443/tcp 0.0.0.0:30080:30080/tcp",
            "changed  network.rootlesskit: 10.0.42.0/24 → 10.0.99.0/24",
            "changed  network.services: 10.0.0.0/24 → 10.96.0.0/16",
            "changed  network.pods: 10.88.0.0/16 → 10.99.0.0/16",
        ]
    );
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    ");
    // The installed command applies the edited configuration.
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("10.0.99.0/24", "10.0.98.0/24")).unwrap();
    let said = stage.usernetes(&["install", "--force"]);
    assert!(
        said.stderr
            .contains("changed  network.rootlesskit: 10.0.99.0/24 → 10.0.98.0/24\n"),
        "{said:?}"
    );
}

#[test]
fn what_data_was_made_with_stays() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("10.0.0.0/24", "10.96.0.0/24")).unwrap();
    stage.calls();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: `network.services` of an existing cluster cannot be changed
      expected  `10.0.0.0/24`, which the cluster's data was made with
      found     `10.96.0.0/24`

    hint: set `network.services` back to `10.0.0.0/24`, or remove the cluster and all its data with `usernetes uninstall --purge` first
    ");
    assert_eq!(stage.calls(), "");
}

#[test]
fn a_unit_that_fails_is_named_with_its_log() {
    let stage = Stage::new(&["etcd"]);
    fs::write(stage.home.path().join("failing"), "u7s-etcd.service").unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let error = said.stderr.split_once("error: ").unwrap().1;
    insta::assert_snapshot!(error, @r"
    u7s-etcd.service does not start
      log    etcd: out of luck
      state  failed

    hint: `usernetes logs u7s-etcd.service` shows the whole log; the installation is complete, so you can run the same command again
    ");
    assert!(
        stage
            .calls()
            .contains("journalctl --user --no-pager --unit u7s-etcd.service")
    );
    fs::remove_file(stage.home.path().join("failing")).unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_unit_of_somebody_else_is_refused_before_anything_is_changed() {
    let stage = Stage::new(&["etcd"]);
    fs::create_dir_all(stage.units()).unwrap();
    fs::write(
        stage.units().join("u7s-etcd.service"),
        "[Service]\nExecStart=/somewhere/etcd.sh\n",
    )
    .unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/.config/systemd/user/u7s-etcd.service exists already, and was not written by `usernetes install`
      expected  no unit of this name

    hint: uninstall what it belongs to (the shell-script Usernetes has `uninstall.sh`), or move it away: `mv $HOME/.config/systemd/user/u7s-etcd.service $HOME/.config/systemd/user/u7s-etcd.service.old`
    ");
    assert!(!stage.home.data().exists());
    assert_eq!(stage.names(".config/systemd/user"), ["u7s-etcd.service"]);
}

#[test]
fn a_unit_that_was_edited_stays_and_is_named() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let file = stage.units().join("u7s-etcd.service");
    fs::write(&file, "[Service]\nExecStart=/mine\n").unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr.contains("was changed since it was installed"),
        "{said:?}"
    );
    let said = stage.usernetes(&["uninstall"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr
            .contains("  left  $HOME/.config/systemd/user/u7s-etcd.service: was changed since it was installed\n"),
        "{said:?}"
    );
    assert_eq!(stage.names(".config/systemd/user"), ["u7s-etcd.service"]);
    fs::remove_file(file).unwrap();
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
}

#[test]
fn bad_input_changes_nothing() {
    let stage = Stage::new(&["etcd"]);
    for (arguments, code, text) in [
        (
            &["--cri=docker"][..],
            2,
            "unknown container runtime \"docker\"",
        ),
        (&["--cni=calico"], 2, "unknown pod network \"calico\""),
        (&["--cidr=10.0.42.7/24"], 2, "bad network `10.0.42.7/24`"),
        (&["--cidr=10.0.42.0/30"], 2, "`--cidr` is too small"),
        (&["--services=10.0.0.0/27"], 2, "`--services` is too small"),
        (
            &["--pods=10.5.0.0/23", "--cni=flannel"],
            2,
            "`--pods` is too small",
        ),
        (
            &["--cni=flannel", "--pods=10.5.0.7/16"],
            2,
            "bad network `10.5.0.7/16`",
        ),
        (
            &["--cidr=10.88.1.0/24"],
            2,
            "`network.pods` overlaps `--cidr`",
        ),
        (
            &["-p", "127.0.0.1:6443:80/tcp"],
            2,
            "`--publish` has the same port of the host twice",
        ),
        (&["--publish=6443"], 2, "bad published port `6443`"),
        (
            &["--start=docker.service"],
            2,
            "unknown unit \"docker.service\"",
        ),
        (&["--start=u7s.target"], 2, "u7s.target cannot be started"),
        (
            &["--start=u7s-flanneld.service"],
            2,
            "u7s-flanneld.service is not part of this configuration",
        ),
    ] {
        let said = stage.install(arguments);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(text), "{said:?}");
    }
    fs::create_dir_all(stage.home.path().join(".config/usernetes")).unwrap();
    fs::write(
        stage.home.path().join(".config/usernetes/config.toml"),
        "[other]\n",
    )
    .unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("config.toml"), "{said:?}");
    assert!(!stage.home.data().exists() && !stage.units().exists());
    assert_eq!(stage.calls(), "");
}

#[test]
fn a_damaged_key_is_found_before_anything_is_changed() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    fs::write(
        stage
            .home
            .path()
            .join(".config/usernetes/master/ca-key.pem"),
        "nonsense",
    )
    .unwrap();
    let units = stage.names(".config/systemd/user");
    stage.calls();
    let said = stage.install(&["--cni=flannel"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("ca-key.pem"), "{said:?}");
    assert_eq!(
        (stage.names(".config/systemd/user"), stage.calls()),
        (units, String::new())
    );
}
