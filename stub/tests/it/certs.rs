//! Tests of `certs list` and `certs renew`.

use fs_err as fs;

use support::stage::Stage;

#[test]
fn every_certificate_with_what_it_is_for_and_how_long() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let said = stage.usernetes(&["certs", "list", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let certificates = json["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 20);
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
    assert_eq!(lines.len(), 21);
}

/// The text of a file below `.config/usernetes`.
fn read(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.home.path().join(".config/usernetes").join(name)).unwrap()
}

#[test]
fn renewing_makes_new_certificates_for_the_same_keys() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let all = || {
        ["etcd.pem", "etcd-key.pem", "ca.pem"].map(|name| read(&stage, &format!("master/{name}")))
    };
    let before = all();
    let said = stage.usernetes(&["certs", "renew"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "renewed 16 certificates\nrunning services load the new certificates within 5 minutes\n"
    );
    let after = all();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);

    stage.usernetes(&["start", "u7s-etcd.target"]);
    stage.calls();
    stage.usernetes(&["certs", "renew"]);
    assert_eq!(stage.calls(), "");
    let said = stage.usernetes(&["certs", "renew", "--restart"]);
    assert!(
        said.stderr.ends_with("restarted u7s-etcd.service\n"),
        "{said:?}"
    );
    assert_eq!(stage.calls(), "restart u7s-etcd.service\n");
}

#[test]
fn only_what_is_due_is_renewed() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let due = ["certs", "renew", "--due"];
    let before = read(&stage, "master/etcd.pem");
    let said = stage.usernetes(&due);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(read(&stage, "master/etcd.pem"), before);
    // A certificate of another name is as wrong as one that lacks an address.
    let directory = stage.home.path().join(".config/usernetes/master");
    fs::remove_file(directory.join("etcd.pem")).unwrap();
    let said = stage.usernetes(&due);
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (Some(0), "renewed 1 certificate\n")
    );
    let said = stage.usernetes(&["certs", "renew", "--due", "--restart"]);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn a_timer_renews_every_day_with_the_program_of_the_generation() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let unit = |name: &str| {
        let path = stage.home.path().join(".config/systemd/user").join(name);
        fs::read_to_string(path).unwrap()
    };
    assert!(unit("u7s-certs.timer").contains("\nOnCalendar=daily\n"));
    assert!(
        unit("u7s-rootlesskit.service")
            .contains("\nWants=u7s-ports.service u7s-certs.timer u7s-etcd-defrag.timer\n")
    );
    let service = unit("u7s-certs.service");
    let words = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let mut words = words.split(' ').map(|word| word.trim_matches('"'));
    let program = words.next().unwrap();
    assert!(
        program.ends_with("/generations/1/bin/usernetes"),
        "{program}"
    );
    let arguments: Vec<_> = words.collect();
    assert_eq!(arguments, ["certs", "renew", "--due"]);
    let mut command = stage.command(program.as_ref());
    let said = stage.home.run_command(command.args(arguments));
    assert_eq!(said.code, Some(0), "{said:?}");

    // The timer must not start a renewal while everything stops, so it stops first.
    fs::write(stage.home.path().join("state/u7s-certs.timer"), "active").unwrap();
    stage.calls();
    stage.usernetes(&["stop"]);
    assert_eq!(stage.calls(), "stop --no-block u7s-certs.timer\n");
    stage.usernetes(&["uninstall"]);
    let units = stage.home.path().join(".config/systemd/user");
    assert!(!units.join("u7s-certs.timer").exists());
    assert!(!units.join("u7s-certs.service").exists());
}

#[test]
fn kubeconfigs_of_an_earlier_release_are_converted_and_their_services_restart() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let named = read(&stage, "master/kube-scheduler.kubeconfig");
    assert!(named.contains("\"client-certificate\": \"kube-scheduler.pem\""));
    // Earlier releases embedded the certificates, as the administrator's kubeconfig still does.
    let embedded = read(&stage, "master/admin-localhost.kubeconfig");
    let file = stage
        .home
        .path()
        .join(".config/usernetes/master/kube-scheduler.kubeconfig");
    for command in [&["certs", "renew", "--due"][..], &["install", "--start="]] {
        fs::write(&file, &embedded).unwrap();
        fs::write(
            stage.home.path().join("state/u7s-kube-scheduler.service"),
            "active",
        )
        .unwrap();
        stage.calls();
        let said = match command {
            ["install", rest @ ..] => stage.install(rest),
            words => stage.usernetes(words),
        };
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(read(&stage, "master/kube-scheduler.kubeconfig"), named);
        assert_eq!(stage.calls(), "restart u7s-kube-scheduler.service\n");
    }
}

#[test]
fn a_merged_kubeconfig_gets_the_new_certificate() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    stage.usernetes(&["kubeconfig", "merge"]);
    let merged = || fs::read_to_string(stage.home.path().join(".kube/config")).unwrap();
    let before = merged();
    let said = stage.usernetes(&["certs", "renew"]);
    assert!(
        said.stderr
            .contains(".kube/config has the new certificate\n"),
        "{said:?}"
    );
    assert_ne!(merged(), before);
    // The certificate may also be renewed by `install`, or when the cluster starts.
    let before = merged();
    let admin = stage.home.path().join(".config/usernetes/master/admin.pem");
    fs::remove_file(admin).unwrap();
    stage.install(&["--start="]);
    let said = stage.usernetes(&["certs", "renew", "--due"]);
    assert!(
        said.stderr
            .ends_with(".kube/config has the new certificate\n"),
        "{said:?}"
    );
    assert_ne!(merged(), before);
    // An entry that somebody has changed is not ours any more.
    let others = merged().replace("client-key-data:", "token: mine\n    client-key-data:");
    fs::write(stage.home.path().join(".kube/config"), &others).unwrap();
    let said = stage.usernetes(&["certs", "renew"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains(
            "your kubeconfig keeps the old certificate, run `usernetes kubeconfig merge`"
        ),
        "{said:?}"
    );
    assert_eq!(merged(), others);
    let said = stage.usernetes(&["status"]);
    assert!(
        said.stdout
            .contains(".kube/config has an old certificate: run `usernetes kubeconfig merge`"),
        "{said:?}"
    );
}

/// The stage of a replacement of the authorities, as `certs list` knows it.
fn rotation(stage: &Stage) -> serde_json::Value {
    let said = stage.usernetes(&["certs", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    json["rotation"].clone()
}

#[test]
fn the_authorities_are_replaced_in_two_parts() {
    let stage = Stage::new(&["etcd"]);
    let clean = stage.names("");
    stage.install(&["--start="]);
    stage.usernetes(&["start", "u7s-etcd.target"]);
    stage.usernetes(&["kubeconfig", "merge"]);
    stage.calls();
    let rotate =
        |more: &[&str]| stage.usernetes(&[&["certs", "rotate-authorities"], more].concat());
    let said = rotate(&["--finish"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("are not being replaced"), "{said:?}");
    let old = read(&stage, "master/ca.pem");

    let said = rotate(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let kept = stage.home.data().join("before-new-authorities.backup");
    assert!(
        kept.exists()
            && said
                .stderr
                .contains("before-new-authorities.backup, with the old keys"),
        "{said:?}"
    );
    // Only its authorities make a service restart.
    assert_eq!(stage.calls(), "restart u7s-etcd.service\n");
    assert_eq!(rotation(&stage)["stage"], "issue");
    let both = read(&stage, "master/ca.pem");
    assert!(both.ends_with(&old) && both.len() > old.len(), "{both}");
    let merged = fs::read_to_string(stage.home.path().join(".kube/config")).unwrap();
    let admin = read(&stage, "master/admin-localhost.kubeconfig");
    let admin: serde_json::Value = serde_json::from_str(&admin).unwrap();
    let data = &admin["clusters"][0]["cluster"]["certificate-authority-data"];
    assert!(merged.contains(data.as_str().unwrap()));
    let said = stage.usernetes(&["status"]);
    assert!(
        said.stdout.contains("rotate-authorities --finish"),
        "{said:?}"
    );
    let said = rotate(&["--status"]);
    assert!(
        said.stdout.contains("the old ones are still trusted"),
        "{said:?}"
    );

    // It was interrupted after the files of the first stage were recorded: nothing has seen them yet.
    let record = stage
        .home
        .path()
        .join(".config/usernetes/master/rotation/stage.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(
        &record,
        text.replace("issue", "trust").replace("true", "false"),
    )
    .unwrap();
    let said = rotate(&["--status"]);
    assert!(said.stdout.contains("it was interrupted"), "{said:?}");
    assert_eq!(rotate(&[]).code, Some(0));
    assert_eq!(stage.calls(), "restart u7s-etcd.service\n");
    assert_eq!(rotation(&stage)["stage"], "issue");
    // Again is nothing.
    assert_eq!(rotate(&[]).code, Some(0));
    assert_eq!(stage.calls(), "");

    let backup = stage.home.path().join("in-between.backup");
    let said = stage.usernetes(&["backup", backup.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");

    let said = rotate(&["--finish"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for line in ["still in use", "pods ", "API server ", "`--force`"] {
        assert!(said.stderr.contains(line), "{line}: {said:?}");
    }
    assert_eq!(stage.calls(), "");
    let said = rotate(&["--finish", "--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.calls(), "restart u7s-etcd.service\n");
    assert_eq!(rotation(&stage), serde_json::Value::Null);
    let new = read(&stage, "master/ca.pem");
    assert!(both.starts_with(&new) && new != both, "{new}");
    assert!(!record.parent().unwrap().exists());
    let said = stage.usernetes(&["certs", "list"]);
    assert!(
        said.stdout.lines().all(|line| !line.contains("not issued")),
        "{said:?}"
    );

    // A backup from the middle brings the middle back.
    let said = stage.usernetes(&["restore", backup.to_str().unwrap(), "--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(rotation(&stage)["stage"], "issue");
    assert_eq!(read(&stage, "master/ca.pem"), both);
    fs::remove_file(&backup).unwrap();
    assert_eq!(stage.usernetes(&["uninstall", "--purge"]).code, Some(0));
    // This also takes away what the played service manager has written down.
    stage.calls();
    assert_eq!(stage.names(""), clean);
}
