//! A cluster comes back from one file, on an empty home or over another cluster.

use std::path::{Path, PathBuf};

use fs_err as fs;

use support::home::Said;
use support::stage::{Stage, pack};

/// A stage with an installed, stopped cluster that has data.
fn stopped() -> Stage {
    let stage = Stage::new(&["etcd"]);
    let said = stage.install(&["--start=", "--node-name", "first"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    write(&stage, "data of the first");
    stage
}

fn db(stage: &Stage) -> PathBuf {
    stage.home.data().join("etcd/member/snap/db")
}

fn write(stage: &Stage, text: &str) {
    fs::create_dir_all(db(stage).parent().unwrap()).unwrap();
    fs::write(db(stage), text).unwrap();
    stage.home.give(&stage.home.data().join("etcd"));
}

fn config(stage: &Stage) -> PathBuf {
    stage.home.path().join(".config/usernetes")
}

fn backup(stage: &Stage) -> PathBuf {
    let file = stage.home.path().join("cluster.backup");
    let said = stage.usernetes(&["backup", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("all read again"), "{said:?}");
    file
}

/// Runs `restore` of the bundle itself.
fn restore(stage: &Stage, file: &Path, arguments: &[&str]) -> Said {
    let mut command = stage.command(&stage.bundle);
    stage
        .home
        .run_command(command.arg("restore").arg(file).args(arguments))
}

#[test]
fn a_backup_comes_back_on_an_empty_home() {
    let stage = stopped();
    let key = fs::read(config(&stage).join("master/ca-key.pem")).unwrap();
    let file = backup(&stage);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!config(&stage).exists());

    let said = restore(&stage, &file, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(db(&stage)).unwrap(), "data of the first");
    assert_eq!(
        fs::read(config(&stage).join("master/ca-key.pem")).unwrap(),
        key
    );
    let text = fs::read_to_string(config(&stage).join("config.toml")).unwrap();
    assert!(text.contains("node_name = \"first\""), "{text}");
    let left: Vec<_> = stage.names(".local/share/usernetes");
    assert!(
        !left
            .iter()
            .any(|name| name.starts_with("replaced") || name.starts_with('.')),
        "{left:?}"
    );
}

/// A volume with a file, as a container would leave it.
fn volume(stage: &Stage, text: &str) -> PathBuf {
    let volumes = stage.home.data().join("volumes");
    let file = volumes.join("pvc-1_default_data/file");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    stage.home.give(&volumes);
    file
}

/// A file in the data of each cluster that was replaced.
fn aside(stage: &Stage, file: &str) -> Vec<PathBuf> {
    let names = stage.names(".local/share/usernetes").into_iter();
    let aside = names.filter(|name| name.starts_with("replaced-"));
    aside
        .map(|name| stage.home.data().join(name).join(file))
        .collect()
}

#[test]
fn the_data_of_volumes_comes_back() {
    let stage = stopped();
    let file = volume(&stage, "data of a pod");
    stage.calls();
    let archive = backup(&stage);
    let program = stage.home.data().join("generations/1/bin/usernetes");
    // RootlessKit's user namespace can read what containers have written.
    let calls = stage.calls();
    assert!(calls.starts_with("rootlesskit "), "{calls}");
    assert!(
        calls.contains("generations/1/bin/usernetes pack-volumes "),
        "{calls}"
    );
    assert!(program.exists());
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!file.exists());
    let said = restore(&stage, &archive, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("the data of volumes is back"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "data of a pod");

    // Those of a replaced cluster stay beside it.
    volume(&stage, "newer");
    let said = restore(&stage, &archive, &["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "data of a pod");
    let kept = aside(&stage, "volumes/pvc-1_default_data/file");
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), "newer");
}

#[test]
fn volumes_are_left_out_only_if_somebody_says_so() {
    let stage = stopped();
    volume(&stage, "data of a pod");
    let archive = stage.home.path().join("small.backup");
    let name = archive.to_str().unwrap();
    let said = stage.usernetes(&["backup", "--without-volumes", name]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("the data of volumes is not in it"),
        "{said:?}"
    );
    let said = restore(&stage, &archive, &["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("without the data of volumes"),
        "{said:?}"
    );
    // A file that cannot be read is no backup.
    fs::write(stage.home.path().join("calls"), "").unwrap();
    volume(&stage, "data of a pod");
    let rootlesskit = stage.home.data().join("current/bin/rootlesskit");
    support::home::overwrite(
        &fs::canonicalize(rootlesskit).unwrap(),
        b"#!/bin/sh\nexit 5\n",
    );
    let said = stage.usernetes(&["backup", "--force", name]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("the data of volumes cannot be read"),
        "{said:?}"
    );
}

#[test]
fn an_existing_cluster_is_replaced_only_with_force_and_is_kept() {
    let stage = stopped();
    let file = backup(&stage);
    write(&stage, "two");
    let said = restore(&stage, &file, &[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("there is a cluster already"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(db(&stage)).unwrap(), "two");

    let said = restore(&stage, &file, &["--force", "--node-name", "second"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(db(&stage)).unwrap(), "data of the first");
    let text = fs::read_to_string(config(&stage).join("config.toml")).unwrap();
    assert!(text.contains("node_name = \"second\""), "{text}");
    let kept = &aside(&stage, "etcd/member/snap/db")[0];
    assert_eq!(fs::read_to_string(kept).unwrap(), "two");

    // Another one, perhaps in the same second, or after the clock was set back.
    write(&stage, "three");
    let said = restore(&stage, &file, &["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(kept).unwrap(), "two");
    let kept = aside(&stage, "etcd/member/snap/db").into_iter();
    let mut kept: Vec<_> = kept.map(|db| fs::read_to_string(db).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["three", "two"]);
}

/// The store is locked once for all of it, also while another release is unpacked.
#[test]
fn a_later_release_restores_over_an_installed_one() {
    let stage = stopped();
    let file = backup(&stage);
    let next = stage.home.program("next", &pack("0.2.0", &["etcd"]));
    let mut command = stage.command(&next);
    command.arg("restore").arg(&file).arg("--force");
    let said = stage.home.run_command(&mut command);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.home.current().manifest().release.as_str(), "0.2.0");
    assert_eq!(fs::read_to_string(db(&stage)).unwrap(), "data of the first");
}

/// The state is that of a restore which was killed while it brought etcd's data to its place.
#[test]
fn the_next_command_undoes_a_restore_that_was_killed() {
    let stage = stopped();
    let file = backup(&stage);
    let (data, config) = (stage.home.data(), config(&stage));
    let key = fs::read(config.join("master/ca-key.pem")).unwrap();
    let record = serde_json::json!({
        "aside": "replaced-1", "had_cluster": true, "config": ["config.toml", "master", "node"], "data": ["etcd"],
        "images": [], "receipt": null, "generation": 1, "brought": null,
    });
    let interrupt = || {
        stage
            .home
            .secret(&data.join("restoring.json"), &record.to_string());
        for (dir, names) in [
            (&config, &["config.toml", "master"][..]),
            (&data, &["etcd"]),
        ] {
            fs::create_dir(dir.join("replaced-1")).unwrap();
            for name in names {
                fs::rename(dir.join(name), dir.join("replaced-1").join(name)).unwrap();
            }
            stage.home.give(&dir.join("replaced-1"));
        }
        fs::create_dir(config.join("master")).unwrap();
        fs::write(config.join("master/ca-key.pem"), "new").unwrap();
        stage.home.give(&config.join("master"));
    };
    interrupt();
    // A command that changes nothing leaves it alone.
    stage.usernetes(&["status"]);
    assert!(data.join("restoring.json").exists());
    let said = stage.usernetes(&["gc"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("a restore was interrupted: everything is again as it was before\n"),
        "{said:?}"
    );
    let undone = || {
        assert_eq!(fs::read_to_string(db(&stage)).unwrap(), "data of the first");
        assert_eq!(fs::read(config.join("master/ca-key.pem")).unwrap(), key);
        assert!(!data.join("restoring.json").exists());
        assert!(!data.join("replaced-1").exists() && !config.join("replaced-1").exists());
    };
    undone();
    // `restore` itself undoes it before it looks at what is there.
    interrupt();
    let said = restore(&stage, &file, &[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    undone();
    interrupt();
    let said = restore(&stage, &file, &["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let replaced = stage.names(".local/share/usernetes");
    let replaced = replaced.iter().filter(|n| n.starts_with("replaced-"));
    assert_eq!(replaced.count(), 1);
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let stage = stopped();
    let file = backup(&stage);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes
        .windows(b"data of the first".len())
        .position(|w| w == b"data of the first")
        .unwrap();
    bytes[at] = b'x';
    let damaged = stage.home.path().join("damaged");
    fs::write(&damaged, bytes).unwrap();
    stage.home.give(&damaged);
    stage.calls();
    let said = restore(&stage, &damaged, &["--force"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(
        said.stderr.contains("`etcd/member/snap/db` is damaged"),
        "{said:?}"
    );
    assert_eq!(
        (stage.calls(), fs::read_to_string(db(&stage)).unwrap()),
        (String::new(), "data of the first".to_owned())
    );
}

#[test]
fn a_file_is_not_overwritten_by_mistake() {
    let stage = stopped();
    let file = stage.home.path().join("cluster.backup");
    stage.home.secret(&file, "mine");
    let said = stage.usernetes(&["backup", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let said = stage.usernetes(&["backup", "--force", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_schedule_makes_backups_and_keeps_some() {
    let stage = stopped();
    let said = stage.usernetes(&["backup", "--scheduled"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("no schedule for backups"), "{said:?}");
    let file = config(&stage).join("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let edit = |schedule: &str| {
        let text = text.replace("schedule = \"\"", &format!("schedule = \"{schedule}\""));
        fs::write(&file, text.replace("keep = 7", "keep = 2")).unwrap();
    };
    edit("each night");
    let said = stage.usernetes(&["install", "--start="]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr.contains("bad schedule `each night`"),
        "{said:?}"
    );
    edit("daily");
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("changed  backup.schedule: \"\" → daily"),
        "{said:?}"
    );
    let timer = stage.units().join("u7s-backup.timer");
    assert!(
        fs::read_to_string(&timer)
            .unwrap()
            .contains("OnCalendar=daily")
    );
    let said = stage.usernetes(&["status"]);
    assert!(
        said.stdout
            .contains("backups       warning  none in $HOME/.local/share/usernetes/backups yet"),
        "{said:?}"
    );

    let dir = stage.home.data().join("backups");
    fs::create_dir(&dir).unwrap();
    for day in 1..=3 {
        let old = dir.join(format!("usernetes-2026-01-0{day}T000000Z.backup"));
        fs::write(&old, "").unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(100);
        fs::OpenOptions::new()
            .write(true)
            .open(old)
            .unwrap()
            .file()
            .set_modified(long_ago)
            .unwrap();
    }
    stage.home.give(&dir);
    let said = stage.usernetes(&["backup", "--scheduled"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("all read again"), "{said:?}");
    let left = stage.names(".local/share/usernetes/backups");
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], "usernetes-2026-01-03T000000Z.backup");
    // Soon after, none is due.
    let said = stage.usernetes(&["backup", "--scheduled"]);
    assert!(said.stderr.contains("so none is due"), "{said:?}");
    let said = stage.usernetes(&["status"]);
    assert!(
        said.stdout
            .contains("backups       ok  the last is 0 min old; 2 in "),
        "{said:?}"
    );
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
    assert!(!timer.exists() && dir.exists());
}
