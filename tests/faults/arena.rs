//! A home to which every trial of a verb comes back, and the ways to run the verb in it.

use std::collections::BTreeSet;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use support::home::{Home, is_root, spawn, unlock};
use support::stage::Stage;

use crate::calls::{self, Fault, Point};
use crate::listing::Listing;
use crate::verbs::Verb;

/// How long a run may take. The longest ones take some seconds.
const LIMIT: Duration = Duration::from_mins(5);

/// Keeps this thread, and all that it starts, on one core: then the program starts no threads to share work, and makes the same
/// calls in the same order every time.
pub fn stay_on_core(number: usize) {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cores: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|n| allowed.is_set(*n))
        .collect();
    let mut one = CpuSet::new();
    one.set(cores[number % cores.len()]);
    let _ = sched_setaffinity(None, &one);
}

/// How a run has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal has ended it.
    pub code: Option<i32>,
    /// Whether it was killed.
    pub killed: bool,
    /// What it has written to stderr, with `$HOME` for the home.
    pub stderr: String,
}

impl Ended {
    fn new(status: ExitStatus, stderr: String) -> Self {
        Self {
            code: status.code(),
            killed: status.signal() == Some(Signal::KILL.as_raw()),
            stderr,
        }
    }

    /// How it has ended, for people.
    pub fn shown(&self) -> String {
        let how = match self.code {
            Some(code) => format!("exit code {code}"),
            None => "killed".to_owned(),
        };
        format!("{how}: {}", self.stderr.trim_end())
    }
}

/// The home of a verb, with what is known of an undisturbed run.
pub struct Arena<'a> {
    /// The verb.
    pub verb: &'a Verb,
    /// The home with the bundle and the played programs.
    pub stage: Stage,
    saved: Home,
    scratch: Home,
    /// The state before the verb.
    pub old: Listing,
    /// The state after it.
    pub new: Listing,
    /// Files whose contents differ from run to run.
    pub any: BTreeSet<String>,
    /// How long an undisturbed run takes.
    pub time: Duration,
}

impl<'a> Arena<'a> {
    /// Makes the home, and runs the verb twice undisturbed.
    pub fn new(verb: &'a Verb) -> Self {
        let stage = Stage::new(&["etcd", "kubelet", "containerd", "kube-proxy"]);
        (verb.prepare)(&stage);
        stage.calls();
        let (saved, scratch) = (Home::new(), Home::of_mortal());
        copy(stage.home.path(), saved.path());
        let mut arena = Self {
            verb,
            old: Listing::of(stage.home.path()),
            stage,
            saved,
            scratch,
            new: Listing::default(),
            any: BTreeSet::new(),
            time: Duration::ZERO,
        };
        let first = arena.undisturbed();
        // Files with a time to the second must differ, too.
        thread::sleep(Duration::from_millis(1100));
        let second = arena.undisturbed();
        arena.any = first.chance(&second);
        // A lock may have the number of a process in it.
        let all = first.0.keys().chain(arena.old.0.keys());
        let locks = all
            .filter(|path| path.trim_end_matches("lock").ends_with('.'))
            .cloned();
        arena.any.extend(locks.collect::<Vec<_>>());
        let same = second.differences(&first, &arena.any);
        assert!(
            same.is_empty(),
            "{}: it is never the same: {same:?}",
            verb.name
        );
        assert_ne!(first, arena.old, "{}: it changes nothing", verb.name);
        arena.new = first;
        arena
    }

    fn undisturbed(&mut self) -> Listing {
        self.reset();
        let started = Instant::now();
        let ended = self.run();
        self.time = started.elapsed();
        assert_eq!(ended.code, Some(0), "{}: {ended:?}", self.verb.name);
        self.listing()
    }

    /// Brings the old state back.
    pub fn reset(&self) {
        let home = self.stage.home.path();
        unlock(home);
        for entry in fs::read_dir(home).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        copy(self.saved.path(), home);
    }

    /// The present state.
    pub fn listing(&self) -> Listing {
        Listing::of(self.stage.home.path())
    }

    /// Runs the verb.
    pub fn run(&self) -> Ended {
        self.finish((self.verb.command)(&self.stage))
    }

    /// Runs the installed program.
    pub fn usernetes(&self, words: &[&str]) -> Ended {
        let said = self.stage.usernetes(words);
        Ended {
            code: said.code,
            killed: false,
            stderr: said.stdout + &said.stderr,
        }
    }

    /// The calls of an undisturbed run that change something, in their order.
    pub fn calls(&self) -> Vec<Point> {
        self.reset();
        let (ended, log) = self.traced(None);
        assert_eq!(ended.code, Some(0), "{}: {ended:?}", self.verb.name);
        let found = calls::changes(&log, self.stage.home.path());
        assert!(
            found.len() > 3,
            "{}: too few calls to be true: {log}",
            self.verb.name
        );
        found
    }

    /// Runs the verb, and lets a call meet a fault. Also gives the line about that call; `None` if there was no such call.
    pub fn disturbed(&self, point: &Point, fault: Fault) -> (Ended, Option<String>) {
        let (ended, log) = self.traced(Some(&point.injection(fault)));
        let line = calls::disturbed(&log, point, fault);
        (ended, line.map(|line| self.shorten(&line)))
    }

    /// Runs the verb under strace, which does not look at other programs that it starts.
    fn traced(&self, injection: Option<&str>) -> (Ended, String) {
        let log = self.scratch.path().join("log");
        let real = (self.verb.command)(&self.stage);
        let mut command = self.stage.command(Path::new("/usr/bin/env"));
        command.arg("strace").args(["-q", "-y", "-s", "0"]);
        command.args(["-e", &calls::traced()]).arg("-o").arg(&log);
        if let Some(injection) = injection {
            command.args(["-e", injection]);
        }
        command
            .arg("--")
            .arg(real.get_program())
            .args(real.get_args());
        let ended = self.finish(command);
        let text = fs::read(&log).unwrap_or_default();
        (ended, String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts the verb in a group of processes of its own, which writes its messages to a file.
    pub fn start(&self, number: usize) -> Running {
        let mut command = (self.verb.command)(&self.stage);
        let file = self.scratch.path().join(format!("stderr-{number}"));
        let stderr = fs::File::create(&file).unwrap().into_parts().0;
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(stderr);
        Running {
            child: spawn(&mut command),
            file,
        }
    }

    /// Waits until a started run has ended.
    pub fn wait(&self, mut running: Running) -> Ended {
        let status = running.child.wait().unwrap();
        let stderr = fs::read(&running.file).unwrap();
        Ended::new(status, self.shorten(&String::from_utf8_lossy(&stderr)))
    }

    /// Runs the verb while the home is on a read-only file system; `None` if this machine does not let us mount one.
    pub fn read_only(&self) -> Option<Ended> {
        let real = (self.verb.command)(&self.stage);
        let user = support::machine::user();
        let home = self.stage.home.path().display();
        let become_user = if is_root() {
            format!(
                "setpriv --reuid={} --regid={} --clear-groups",
                user.0, user.1
            )
        } else {
            "env".to_owned()
        };
        let script = format!(
            "mount --bind {home} {home} && mount -o remount,bind,ro,nosuid,nodev {home} || exit 99; exec {become_user} \"$@\""
        );
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["--mount", "--", "sh", "-c", &script, "sh"]);
        command.arg(real.get_program()).args(real.get_args());
        command.env_clear().current_dir("/").stdin(Stdio::null());
        for (name, value) in real.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let ended = self.finish(command);
        (ended.code != Some(99)).then_some(ended)
    }

    /// Waits for a command. A verb that a fault lets hang is ended, with all programs that it has started, and is a failure.
    fn finish(&self, mut command: Command) -> Ended {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = spawn(command.process_group(0));
        let group = child.id();
        let (ended, waiting) = channel::<()>();
        let (output, hung) = thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let hung = waiting.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
                if hung {
                    kill(group);
                }
                hung
            });
            let output = child.wait_with_output().unwrap();
            drop(ended);
            (output, watch.join().unwrap())
        });
        let stderr = self.shorten(&String::from_utf8_lossy(&output.stderr));
        let seconds = LIMIT.as_secs();
        assert!(
            !hung,
            "{command:?} did not end within {seconds} s: {stderr}"
        );
        Ended::new(output.status, stderr)
    }

    fn shorten(&self, text: &str) -> String {
        text.replace(self.stage.home.path().to_str().unwrap(), "$HOME")
    }
}

/// A run that has not ended.
pub struct Running {
    child: Child,
    file: PathBuf,
}

impl Running {
    /// Kills it, with all programs that it has started.
    pub fn kill(&self) {
        kill(self.child.id());
    }
}

/// Kills a group of processes.
fn kill(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Copies what is in a directory into another one, with owners, permissions and times.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(copied.unwrap().success(), "cp of {}", from.display());
}
