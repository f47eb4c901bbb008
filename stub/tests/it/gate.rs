//! An upgrade that does not work returns to the release before, and no release gets data that it cannot read.

use fs_err as fs;
use stub::cluster::Versions;
use stub::layout::Layout;
use stub::snapshot;

use support::home::Said;
use support::machine::Machine;
use support::stage::{Stage, pack};

/// A stage with a running etcd of release 0.1.0, and data. `None` where no machine can be played.
fn running() -> Option<Stage> {
    let stage = Stage::new(&["etcd"]);
    Machine::fit(&stage.home)?;
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    write(&stage, "first");
    start_etcd(&stage);
    Some(stage)
}

fn data(stage: &Stage) -> std::path::PathBuf {
    stage.home.data().join("etcd/member/db")
}

fn write(stage: &Stage, text: &str) {
    let file = data(stage);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    stage.home.give(&stage.home.data().join("etcd"));
}

fn layout(stage: &Stage) -> Layout {
    let config = stage.home.path().join(".config/usernetes");
    let generation = stage.home.current().path().to_owned();
    Layout::new(config, stage.home.data(), "/r".into(), generation).unwrap()
}

/// The part of `boot etcd` that comes before etcd itself, which the fake service manager does not run.
fn start_etcd(stage: &Stage) {
    snapshot::before_etcd(&layout(stage), &stage.home.current()).unwrap();
    for name in ["etcd-user.json", "snapshots"] {
        let path = stage.home.data().join(name);
        if path.exists() {
            stage.home.give(&path);
        }
    }
}

/// Installs the bundle of another release, without force.
fn install(stage: &Stage, release: &'static str, arguments: &[&str]) -> Said {
    let next = stage.home.program("next", &pack(release, &["etcd"]));
    let mut command = stage.command(&next);
    Machine::fit(&stage.home).unwrap().show_to(&mut command);
    let command = command.arg("install").args(arguments);
    stage.home.run_command(command)
}

#[test]
fn a_release_that_does_not_work_is_replaced_by_the_one_before() {
    let Some(stage) = running() else { return };
    fs::write(stage.home.path().join("failing-files"), "generations/2/").unwrap();
    stage.calls();
    let said = install(&stage, "0.2.0", &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains(
            "error: release 0.2.0 does not work; generation 1 (release 0.1.0) is running again\n"
        ),
        "{said:?}"
    );
    assert!(said.stderr.contains("  because  u7s-"), "{said:?}");
    assert_eq!(stage.home.current().number(), 1);
    let unit = fs::read_to_string(stage.units().join("u7s-etcd.service")).unwrap();
    assert!(unit.contains("generations/1/bin/usernetes"), "{unit}");
    let state = fs::read_to_string(stage.home.path().join("state/u7s-etcd.service")).unwrap();
    assert_eq!(
        (state.trim(), fs::read_to_string(data(&stage)).unwrap()),
        ("active", "first".to_owned())
    );

    // With force it stays.
    let said = install(&stage, "0.2.0", &["--force"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(stage.home.current().number(), 2);
}

#[test]
fn older_programs_do_not_get_the_data() {
    let Some(stage) = running() else { return };
    stage.calls();
    let said = install(&stage, "0.0.9", &[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("error: the bundle's etcd is older than the one that the cluster's data was written with\n  expected  0.1.0 or later\n  found     0.0.9\n"),
        "{said:?}"
    );
    assert_eq!(
        (stage.calls(), stage.home.current().number()),
        (String::new(), 1)
    );
    let said = install(&stage, "0.0.9", &["--force"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_rollback_over_a_minor_version_of_etcd_restores_the_data_from_before() {
    let Some(stage) = running() else { return };
    let said = install(&stage, "0.2.0", &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    start_etcd(&stage);
    write(&stage, "second");
    // A machine that became unfit meanwhile is found before anything is stopped.
    stage.calls();
    let said = stage.usernetes(&["rollback"]);
    assert_eq!(
        (said.code, stage.calls()),
        (Some(6), String::new()),
        "{said:?}"
    );
    let mut command = stage.command(&stage.home.data().join("current/bin/usernetes"));
    Machine::fit(&stage.home).unwrap().show_to(&mut command);
    let said = stage.home.run_command(command.arg("rollback"));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("etcd 0.1.0 cannot read data of etcd 0.2.0, so the data of 20"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(data(&stage)).unwrap(), "first");
    let kept = stage.home.data().join("snapshots/2/etcd/member/db");
    assert_eq!(fs::read_to_string(kept).unwrap(), "second");
    assert_eq!(stage.home.current().number(), 1);
}

#[test]
fn a_rollback_without_the_old_data_stops_nothing() {
    let Some(stage) = running() else { return };
    install(&stage, "0.2.0", &[]);
    start_etcd(&stage);
    fs::remove_dir_all(stage.home.data().join("snapshots")).unwrap();
    stage.calls();
    let mut command = stage.command(&stage.home.data().join("current/bin/usernetes"));
    Machine::fit(&stage.home).unwrap().show_to(&mut command);
    let said = stage.home.run_command(command.arg("rollback"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr
            .contains("there is no snapshot of etcd's data from generation 1"),
        "{said:?}"
    );
    assert_eq!(
        (stage.calls(), stage.home.current().number()),
        (String::new(), 2)
    );
}

#[test]
fn the_receipt_has_the_versions() {
    let Some(stage) = running() else { return };
    let receipt = stub::cluster::Receipt::read(&stage.home.data())
        .unwrap()
        .unwrap();
    let etcd = "0.1.0".to_owned();
    assert_eq!(
        receipt.versions,
        Versions {
            etcd,
            ..Versions::default()
        }
    );
}
