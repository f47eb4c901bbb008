//! `usernetes run`: without a service manager, with services that are played and the real ways to start them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use stub::bundle::Mode;
use stub::output;

use support::home::spawn;
use support::pack::{Pack, Recipe};
use support::stage::Stage;

/// Makes the namespaces that services enter, says that it is ready, and stays.
const ROOTLESSKIT: &str = r#"#!/bin/sh
for argument; do
    case $argument in --state-dir=*) state=${argument#*=} ;; esac
done
unshare --user --map-root-user --net sleep 1000 &
trap 'kill $!; exit 0' TERM
until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
echo $! >"$state/child_pid"
say READY=1
while :; do wait; done
"#;

/// Says that it is ready, and stays. With a file `stubborn` in the home it does not listen.
const ETCD: &str = r#"#!/bin/sh
echo "I am $$, ETCD_NAME is ${ETCD_NAME-not set}"
echo $$ >"$HOME/etcd.pid"
if [ -e "$HOME/stubborn" ]; then trap '' TERM; else trap 'exit 143' TERM; fi
say READY=1
while :; do sleep 0.1; done
"#;

/// `sd_notify(3)`.
const SAY: &str = r#"#!/bin/sh
exec perl -MSocket -e 'socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; send(S, $ARGV[0], 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die' -- "$1"
"#;

/// A home with a bundle whose services can be run. `None`, said on stderr, where nobody may make user namespaces.
fn stage() -> Option<Stage> {
    let stage = Stage::new(&[]);
    let mut unshare = stage.command(Path::new("unshare"));
    unshare.args(["--user", "--map-root-user", "--net", "true"]);
    if !unshare.status().is_ok_and(|status| status.success()) {
        output::message("not tested: nobody may make user namespaces here");
        return None;
    }
    bring(&stage, ETCD);
    Some(stage)
}

/// Puts a bundle into the home, with this etcd.
fn bring(stage: &Stage, etcd: &str) {
    let mut pack = Pack::default();
    for (name, text) in [("etcd", etcd), ("rootlesskit", ROOTLESSKIT), ("say", SAY)] {
        let path = format!("bin/{name}");
        pack.component(name, "1", "Apache-2.0")
            .file(&path, Mode::Program, text.as_bytes(), None);
    }
    let bytes = pack.finish(&Recipe::new("0.1.0", "3.6.0").runnable());
    stage.home.program("usernetes-x86_64", &bytes);
}

/// A run in the background, which is stopped at the end of the test.
struct Run {
    process: Child,
    said: PathBuf,
}

impl Run {
    fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let said = stage.home.path().join("said");
        let mut command = stage.command(&stage.bundle);
        // Nothing of the session is needed.
        command
            .env("ETCD_NAME", "of the session")
            .args(["run", "--force"])
            .args(arguments);
        command
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap().into_parts().0);
        let process = spawn(&mut command);
        Self { process, said }
    }

    fn up(stage: &Stage) -> Self {
        let mut run = Self::start(stage, &[]);
        run.wait_for("the cluster is up");
        run
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn wait_for(&mut self, text: &str) {
        let ended = |run: &mut Self| run.process.try_wait().unwrap().is_some();
        until(text, || self.said().contains(text) || ended(self));
        assert!(self.said().contains(text), "{}", self.said());
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn ends(&mut self) -> ExitStatus {
        until("the end of the run", || {
            self.process.try_wait().unwrap().is_some()
        });
        self.process.wait().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = self.process.wait();
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn etcd(stage: &Stage) -> Pid {
    let file = stage.home.path().join("etcd.pid");
    let mut pid = None;
    until("etcd", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.is_some()
    });
    pid.unwrap()
}

/// Processes of this home, by their programs or arguments.
fn processes(stage: &Stage) -> Vec<String> {
    let home = stage.home.path().to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|p| fs::read(p.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(home)).collect()
}

#[test]
fn from_a_bundle_to_services_and_back() {
    let Some(stage) = stage() else { return };
    let mut run = Run::up(&stage);
    let said = run.said();
    assert!(said.contains("unpack: "), "{said}");
    assert!(
        said.contains("generation 1 (release 0.1.0) is installed and is now the current one"),
        "{said}"
    );
    assert!(said.contains("u7s-etcd.service"), "{said}");
    assert!(said.contains("etcd: I am "), "{said}");
    // Nothing is made for a service manager, and nobody asked one.
    assert!(!stage.units().exists());
    assert_eq!(stage.calls(), "");

    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let pid = run.process.id().to_string();
    // The played RootlessKit has no socket, so the layer `ports` is a warning, once its service has tried.
    let layers = said.stdout.split("\n\n").next().unwrap().lines();
    let layers: Vec<_> = layers
        .filter(|line| !line.starts_with("ports "))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_snapshot!(layers.join("\n").replace(&pid, "PID"), @r"
    generation 1 (release 0.1.0)
    units ok supervised by `usernetes run`, process PID
    RootlessKit ok u7s-rootlesskit.service active (running)
    etcd ok u7s-etcd.service active (running)
    ");
    let said = stage.usernetes(&["logs", "etcd", "-n", "1"]);
    assert!(
        said.stdout.ends_with(", ETCD_NAME is not set\n"),
        "{said:?}"
    );
    let said = stage.usernetes(&["logs", "containerd", "--since=1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.stdout.contains(" etcd: "), "{said:?}");
    let lines = |since: &str| {
        let said = stage.usernetes(&["logs", "etcd", "rootlesskit", "--since", since]);
        said.stdout.matches(" etcd: ").count()
    };
    // The lines have whole seconds.
    thread::sleep(Duration::from_millis(1100));
    assert_eq!((lines("1h") > 0, lines("0s")), (true, 0));

    for arguments in [
        &["run", "--force"][..],
        &["install", "--force"],
        &["install", "--start="],
    ] {
        let said = stage
            .home
            .run_command(stage.command(&stage.bundle).args(arguments));
        assert_eq!(said.code, Some(7), "{said:?}");
        assert!(
            said.stderr
                .contains("the cluster is running under `usernetes run`"),
            "{said:?}"
        );
    }

    let first = etcd(&stage);
    kill_process(first, Signal::KILL).unwrap();
    run.wait_for("etcd failed: ended with signal 9; starting it again in 1.0 s");
    until("another etcd", || etcd(&stage) != first);

    assert_eq!(stage.usernetes(&["stop", "etcd"]).code, Some(0));
    assert!(test_kill_process(etcd(&stage)).is_err());
    assert_eq!(stage.usernetes(&["start", "etcd"]).code, Some(0));
    assert_eq!(stage.usernetes(&["restart", "rootlesskit"]).code, Some(0));

    kill_process(run.pid(), Signal::TERM).unwrap();
    assert!(run.ends().success(), "{}", run.said());
    assert!(
        run.said().contains("everything has stopped after "),
        "{}",
        run.said()
    );
    assert_eq!(processes(&stage), [""; 0]);
    assert!(!stage.home.data().join("run").exists());

    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout.contains("units  stopped  there are none"),
        "{said:?}"
    );
    assert!(
        stage
            .usernetes(&["logs"])
            .stdout
            .contains(" run: everything has stopped after ")
    );
}

#[test]
fn stop_and_uninstall_end_a_run() {
    let Some(stage) = stage() else { return };
    let mut run = Run::up(&stage);
    let said = stage.usernetes(&["stop"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("`usernetes run` has ended"),
        "{said:?}"
    );
    assert!(run.ends().success());

    // What is installed is used again, and can be removed while it runs.
    let mut run = Run::up(&stage);
    assert!(run.said().contains("is unchanged"), "{}", run.said());
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(run.ends().success());
    assert!(!stage.home.data().exists());
}

#[test]
fn a_second_signal_does_not_hurry_and_a_service_that_does_not_listen_is_killed() {
    let Some(stage) = stage() else { return };
    fs::write(stage.home.path().join("stubborn"), "").unwrap();
    let mut run = Run::up(&stage);
    let asked = Instant::now();
    kill_process(run.pid(), Signal::INT).unwrap();
    run.wait_for("stopping everything, because of SIGINT");
    kill_process(run.pid(), Signal::TERM).unwrap();
    run.wait_for("everything is stopping already");
    assert!(run.ends().success(), "{}", run.said());
    assert!(asked.elapsed() >= Duration::from_secs(10), "{}", run.said());
    assert!(
        run.said()
            .contains("etcd has not ended 10 s after it was asked to"),
        "{}",
        run.said()
    );
    assert_eq!(processes(&stage), [""; 0]);
}

#[test]
fn the_services_do_not_outlive_a_run_that_is_killed() {
    let Some(stage) = stage() else { return };
    let mut run = Run::up(&stage);
    kill_process(run.pid(), Signal::KILL).unwrap();
    run.ends();
    until("the end of all services", || processes(&stage).is_empty());
    let said = stage.usernetes(&["status"]);
    assert!(
        said.stdout.contains("`usernetes run` is not running"),
        "{said:?}"
    );
    Run::up(&stage);
}

#[test]
fn one_that_does_not_start_ends_the_run_with_its_log() {
    let Some(stage) = stage() else { return };
    bring(&stage, "#!/bin/sh\necho no luck\nexit 3\n");
    let mut run = Run::start(&stage, &["--quiet"]);
    assert_eq!(run.ends().code(), Some(1), "{}", run.said());
    let said = run.said();
    assert!(
        said.contains("error: u7s-etcd.service does not start"),
        "{said}"
    );
    assert!(
        said.contains("log    no luck") && !said.contains("etcd: no luck"),
        "{said}"
    );
}

#[test]
fn what_systemd_runs_is_left_alone_and_what_it_may_start_later_stays_in_step() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let run = || {
        let mut command = stage.command(&stage.bundle);
        stage.home.run_command(command.args(["run", "--force"]))
    };
    let said = run();
    assert_eq!(said.code, Some(7), "{said:?}");
    assert!(
        said.stderr.contains("your systemd runs this cluster"),
        "{said:?}"
    );
    assert!(said.stderr.contains("found     u7s-"), "{said:?}");
}

/// The command of a unit, as systemd would start it at a login, while a run has the cluster.
#[test]
fn a_unit_does_not_start_beside_a_run() {
    let Some(stage) = stage() else { return };
    let _run = Run::up(&stage);
    let program = stage.home.data().join("generations/1/bin/usernetes");
    let mut unit: Command = stage.command(&program);
    unit.env("XDG_RUNTIME_DIR", stage.home.path());
    let said = stage.home.run_command(unit.args(["boot", "etcd"]));
    assert_eq!(said.code, Some(7), "{said:?}");
    assert!(
        said.stderr
            .contains("the cluster is running under `usernetes run`"),
        "{said:?}"
    );
}
