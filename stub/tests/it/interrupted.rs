//! Tests that stop a change of the store at every step: with SIGKILL, and with an error of the disk.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use rustix::process::{Signal, getpid, kill_process};
use stub::bundle::Bundle;
use stub::error::{Kind, Result};
use stub::progress::Progress;
use stub::store::{Depth, Store};

use support::home::{Home, overwrite, spawn};
use support::pack::Recipe;

// The environment variables for the process to be stopped: the change to make, the directory to make it in, and how to stop
// at which step.
const CHANGE: &str = "STUB_TEST_CHANGE";
const DATA: &str = "STUB_TEST_DATA";
const STOP: &str = "STUB_TEST_STOP";

static STEPS_LEFT: AtomicUsize = AtomicUsize::new(0);

fn kill(_: &'static str, _: &Path) -> io::Result<()> {
    if STEPS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(())
}

fn fill(_: &'static str, _: &Path) -> io::Result<()> {
    if STEPS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

fn change(store: &Store, what: &str) -> Result<()> {
    match what.split_once(' ') {
        Some(("install", bundle)) => {
            let bundle = Bundle::open(Path::new(bundle))?;
            store.install(&bundle, &Progress::silent()).map(drop)
        }
        Some(("rollback", number)) => store.rollback(number.parse().ok()).map(drop),
        _ => store.gc(None, &[], false).map(drop),
    }
}

/// Not a test itself: the process that the tests below start and stop.
#[test]
#[expect(clippy::exit, reason = "the exit code is for the test that waits")]
fn stopped_process() {
    let Ok(what) = env::var(CHANGE) else { return };
    let stop = env::var(STOP).unwrap();
    let (how, step) = stop.split_once(' ').unwrap();
    STEPS_LEFT.store(step.parse().unwrap(), Ordering::SeqCst);
    let observer = if how == "kill" { kill } else { fill };
    let store = Store::at(env::var_os(DATA).unwrap()).observed(observer);
    if let Err(error) = change(&store, &what) {
        assert_eq!(error.kind(), Kind::Host, "{error}");
        assert!(
            error.to_string().contains("hint: free some space"),
            "{error}"
        );
        // After an error, nothing temporary is left.
        std::process::exit(if temporary(store.dir()) { 75 } else { 74 });
    }
}

fn temporary(data: &Path) -> bool {
    let dirs = [
        data.to_owned(),
        data.join("store"),
        data.join("generations"),
    ];
    let entries = dirs
        .iter()
        .flat_map(|d| fs::read_dir(d).into_iter().flatten().flatten());
    entries.into_iter().any(|e| {
        e.file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(".tmp-"))
    })
}

fn stopped(home: &Home, what: &str, how: &str, step: usize) -> ExitStatus {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        "interrupted::stopped_process",
        "--nocapture",
        "--quiet",
    ]);
    command
        .env(CHANGE, what)
        .env(DATA, home.data())
        .env(STOP, format!("{how} {step}"));
    command.stdout(std::process::Stdio::null());
    spawn(&mut command).wait().unwrap()
}

/// Stops a change at its first step, at its second step, and so on until it completes. `prepare` makes the store each time.
/// Afterwards, the current generation must be undamaged and one of those in `allowed`, and the change must succeed.
fn at_every_step(
    prepare: impl Fn(&Home),
    what: impl Fn(&Home) -> String,
    allowed: &[Option<u64>],
    then: u64,
) {
    for how in ["kill", "fill"] {
        for step in 1.. {
            let home = Home::new();
            prepare(&home);
            let what = what(&home);
            let status = stopped(&home, &what, how, step);
            let at = format!("{what}: {how} at step {step}: {status}");
            let store = home.store();
            let current = store.current().unwrap();
            if let Some(generation) = &current {
                let damages = store.check(generation, Depth::Contents, |_| ()).unwrap();
                assert_eq!(damages, [], "{at}");
            }
            let number = current.map(|g| g.number());
            change(&store, &what).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!(home.current().number(), then, "{at}");
            assert_eq!(home.damages(), [], "{at}");
            store.gc(None, &[], false).unwrap();
            assert!(!temporary(store.dir()), "{at}");
            if status.success() {
                assert_eq!(number, Some(then), "{at}");
                assert!(step > 8, "{at}: too few steps to be true");
                break;
            }
            assert!(allowed.contains(&number), "{at}: {number:?}");
            assert!(how == "kill" || status.code() == Some(74), "{at}");
        }
    }
}

fn bundle(home: &Home, etcd: &'static str) -> String {
    let path = home.program(etcd, &Recipe::new("0.1.0", etcd).pack());
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_interrupted_first_install_leaves_nothing_or_all() {
    at_every_step(
        |_| (),
        |home| format!("install {}", bundle(home, "1")),
        &[None, Some(1)],
        1,
    );
}

#[test]
fn an_interrupted_upgrade_leaves_the_old_or_the_new_generation() {
    at_every_step(
        |home| drop(home.install(&Recipe::new("0.1.0", "1").pack())),
        |home| format!("install {}", bundle(home, "2")),
        &[Some(1), Some(2)],
        2,
    );
}

fn three_generations(home: &Home) {
    for etcd in ["1", "2", "3"] {
        home.install(&Recipe::new("0.1.0", etcd).pack());
    }
}

#[test]
fn an_interrupted_gc_can_be_repeated() {
    at_every_step(three_generations, |_| "gc".to_owned(), &[Some(3)], 3);
}

/// The damaged component stays damaged until it is repaired, but nothing else may be damaged.
#[test]
fn repair_of_another_generations_component() {
    let prepare = |home: &Home| {
        three_generations(home);
        let etcd = home
            .store()
            .generation(2)
            .unwrap()
            .component_dir("etcd")
            .unwrap();
        overwrite(&etcd.join("bin/etcd"), b"");
    };
    at_every_step(
        prepare,
        |home| format!("install {}", bundle(home, "2")),
        &[Some(2), Some(3)],
        2,
    );
}

/// If the repair of the current generation is stopped, the generation is repaired or as damaged as before, but not more.
#[test]
fn repair_of_the_current_generation() {
    for step in 1.. {
        let home = Home::new();
        home.install(&Recipe::new("0.1.0", "1").pack());
        let apiserver = home.current().component_dir("kube-apiserver").unwrap();
        overwrite(&apiserver.join("bin/kube-apiserver"), b"");
        fs::remove_file(home.current().bin_dir().join("etcd")).unwrap();
        let before = home.damages();
        let what = format!("install {}", bundle(&home, "1"));
        let status = stopped(&home, &what, "kill", step);
        let after = home.damages();
        assert!(
            after.iter().all(|d| before.contains(d)),
            "step {step}: {after:?}"
        );
        change(&home.store(), &what).unwrap();
        assert_eq!(home.damages(), [], "step {step}");
        assert_eq!(home.current().number(), 1, "step {step}");
        if status.success() {
            assert!(step > 8);
            break;
        }
    }
}
