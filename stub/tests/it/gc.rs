//! Tests of `gc`: what it removes, and what it keeps.

use std::process::Child;

use fs_err as fs;
use stub::bundle::Mode;

use support::home::{Home, spawn};
use support::pack::{Pack, Recipe};

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bundle with a single program, which sleeps.
fn sleeper(version: &str) -> Vec<u8> {
    let mut pack = Pack::default();
    let program = fs::read("/bin/sleep").unwrap();
    pack.component("sleep", version, "GPL-3.0-or-later")
        .file("bin/sleep", Mode::Program, &program, None)
        .file("share/version", Mode::Data, version.as_bytes(), None);
    pack.finish(&Recipe::new("0.1.0", ""))
}

fn components(home: &Home) -> Vec<String> {
    let names = fs::read_dir(home.data().join("store")).unwrap();
    let mut names: Vec<_> = names
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|n| n.split_once('-').map(|(_, rest)| rest.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn keeps_current_and_previous() {
    let home = Home::new();
    for etcd in ["1", "2", "3", "4"] {
        home.install(&Recipe::new("0.1.0", etcd).pack());
    }
    let dry = home.usernetes(&["gc", "--dry-run"]);
    assert_eq!(home.store().generation_numbers().unwrap(), [1, 2, 3, 4]);
    let mut text = dry.stdout.clone();
    for number in [1, 2] {
        let etcd = home
            .store()
            .generation(number)
            .unwrap()
            .component_dir("etcd")
            .unwrap();
        text = text.replace(
            etcd.file_name().unwrap().to_str().unwrap(),
            &format!("<etcd {number}>"),
        );
    }
    let mut lines: Vec<_> = text
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "component <etcd 1> 29 B",
            "component <etcd 2> 29 B",
            "generation 1",
            "generation 2"
        ]
    );
    assert_eq!(dry.stderr, "would free 58 B\n");

    let said = home.usernetes(&["gc"]);
    assert_eq!((said.code, &*said.stderr), (Some(0), "freed 58 B\n"));
    assert_eq!(said.stdout, dry.stdout);
    assert_eq!(home.store().generation_numbers().unwrap(), [3, 4]);
    assert_eq!(
        components(&home)
            .iter()
            .filter(|n| n.starts_with("etcd"))
            .count(),
        2
    );
    assert_eq!(home.damages(), []);
    home.store().rollback(None).unwrap();
    assert_eq!(home.damages(), []);
    assert_eq!(home.usernetes(&["gc"]).stderr, "nothing to remove\n");
}

#[test]
fn keeps_the_generation_the_units_run() {
    let home = Home::new();
    for etcd in ["1", "2", "3", "4"] {
        home.install(&Recipe::new("0.1.0", etcd).pack());
    }
    let garbage = home.store().gc(Some(1), &[], false).unwrap();
    assert_eq!(garbage.generations, [2]);
    assert_eq!(garbage.components.len(), 1);
}

#[test]
fn numbers_are_not_given_twice() {
    let home = Home::new();
    for etcd in ["1", "2", "3"] {
        home.install(&Recipe::new("0.1.0", etcd).pack());
    }
    home.store().rollback(Some(2)).unwrap();
    let garbage = home.store().gc(None, &[], false).unwrap();
    assert_eq!(garbage.generations, [3]);
    assert_eq!(
        home.install(&Recipe::new("0.1.0", "3").pack())
            .generation
            .number(),
        4
    );
}

#[test]
fn gc_keeps_what_a_process_runs() {
    let home = Home::new();
    home.install(&sleeper("1"));
    let program = home.current().bin_dir().join("sleep");
    let running = Running(spawn(home.command(&program).arg("1000")));
    home.install(&sleeper("2"));
    home.install(&sleeper("3"));
    let garbage = home.store().gc(None, &[], false).unwrap();
    assert_eq!(garbage.generations, [1]);
    assert!(garbage.components.is_empty(), "{garbage:?}");
    assert_eq!(
        components(&home),
        ["sleep-1", "sleep-2", "sleep-3", "usernetes-0.1.0"]
    );
    drop(running);
    home.store().gc(None, &[], false).unwrap();
    assert_eq!(components(&home), ["sleep-2", "sleep-3", "usernetes-0.1.0"]);
}

#[test]
fn keeps_the_shims_of_recorded_tasks() {
    let home = Home::new();
    for version in ["1", "2", "3", "4", "5"] {
        home.install(&sleeper(version));
    }
    let containerd = home.data().join("containerd");
    let record = |below: &str, shim: std::path::PathBuf| {
        let task = containerd.join(below);
        fs::create_dir_all(&task).unwrap();
        fs::write(task.join("shim-binary-path"), shim.to_str().unwrap()).unwrap();
    };
    let generation = |n| home.store().generation(n).unwrap();
    let by_store = generation(1)
        .component_dir("sleep")
        .unwrap()
        .join("bin/sleep");
    record("io.containerd.runtime.v2.task/k8s.io/aa", by_store);
    record(
        "state/io.containerd.runtime.v2.task/k8s.io/bb",
        generation(2).bin_dir().join("sleep"),
    );
    record(
        "state/io.containerd.runtime.v2.task/k8s.io/cc",
        home.path().join("gone"),
    );
    let said = home.usernetes(&["gc"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(home.store().generation_numbers().unwrap(), [2, 4, 5]);
    assert_eq!(
        components(&home),
        [
            "sleep-1",
            "sleep-2",
            "sleep-4",
            "sleep-5",
            "usernetes-0.1.0"
        ]
    );
}

#[test]
fn leaves_alone_what_is_not_its_own() {
    let home = Home::new();
    home.install(&sleeper("1"));
    fs::write(home.data().join("store/notes-of-mine"), "").unwrap();
    assert!(
        home.store()
            .gc(None, &[], false)
            .unwrap()
            .components
            .is_empty()
    );
    assert!(home.data().join("store/notes-of-mine").exists());

    fs::remove_file(home.data().join("current")).unwrap();
    let said = home.usernetes(&["gc"]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.stderr, @r"
    error: no generation is current, so nothing can be removed safely

    hint: choose one with `usernetes rollback <N>`; `usernetes generations` lists them
    ");
}
