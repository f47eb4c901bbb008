//! Runs a program as a child, and behaves as if this process were that program: passes signals on and returns its exit code.

use std::io::{IsTerminal, stdin};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::child;
use crate::error::{Context, Result};

/// The signals that are passed on to the program.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// The signals among these that ask a program to end.
const ENDING: [i32; 3] = [SIGINT, SIGQUIT, SIGTERM];

/// Runs one program after another and passes signals on to them.
pub(crate) struct Supervisor {
    signals: Signals,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code: 128 + n if signal n ended it.
    pub(crate) code: u8,
    /// Whether a signal that asks a program to end was passed on to it.
    pub(crate) asked: bool,
}

impl Supervisor {
    /// Begins to collect signals, so that none is lost between two programs.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            signals: Signals::new(PASSED_ON.into_iter().chain([SIGCHLD]))?,
        })
    }

    /// Runs a program to its end. Calls `started` with its PID.
    pub(crate) fn run(&mut self, command: Command, started: impl FnOnce(Pid)) -> Result<Exit> {
        self.run_with_farewell(command, started, || ())
    }

    /// Does the same, and calls `farewell` once, before the first signal that asks the program to end is passed on.
    pub(crate) fn run_with_farewell(
        &mut self,
        mut command: Command,
        started: impl FnOnce(Pid),
        farewell: impl FnOnce(),
    ) -> Result<Exit> {
        let mut farewell = Some(farewell);
        let mut child = command
            .spawn()
            .about(|| format!("`{}`", command.get_program().display()))?;
        let pid = Pid::from_child(&child);
        started(pid);
        // A terminal sends these two signals to every process in the foreground, so the program has already got them.
        let by_terminal = |signal| matches!(signal, SIGINT | SIGQUIT) && stdin().is_terminal();
        let mut asked = false;
        loop {
            for signal in self.signals.wait() {
                if signal == SIGCHLD {
                    if let Some(status) = child.try_wait()? {
                        return Ok(Exit {
                            code: exit_code(status),
                            asked,
                        });
                    }
                    continue;
                }
                if ENDING.contains(&signal) {
                    asked = true;
                    if let Some(farewell) = farewell.take() {
                        farewell();
                    }
                }
                if let Some(signal) =
                    Signal::from_named_raw(signal).filter(|_| !by_terminal(signal))
                {
                    // This fails only if the program has ended, and then SIGCHLD follows.
                    let _ = kill_process(pid, signal);
                }
            }
        }
    }

    /// Waits until this process is asked to end.
    pub(crate) fn wait_for_end(&mut self) {
        while !self.signals.wait().any(|signal| ENDING.contains(&signal)) {}
    }

    /// Waits until this process is asked to end, but not longer than `limit`.
    pub(crate) fn wait_for_end_at_most(&mut self, limit: Duration) {
        const STEP: Duration = Duration::from_millis(100);
        let started = Instant::now();
        while let Some(rest) = limit.checked_sub(started.elapsed()) {
            if self
                .signals
                .pending()
                .any(|signal| ENDING.contains(&signal))
            {
                return;
            }
            thread::sleep(STEP.min(rest));
        }
    }
}

/// The exit code that a shell would have in `$?`.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Runs a program to its end and returns the text that it wrote to stdout.
pub(crate) fn output(mut command: Command) -> Result<String> {
    child::run(&mut command)?.success()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn run(command: Command) -> Result<Exit> {
        Supervisor::new().unwrap().run(command, |_| ())
    }

    #[test]
    fn exit_codes_are_the_programs_own() {
        for (script, code) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("kill -KILL $$", 137),
            ("kill -TERM $$", 143),
        ] {
            assert_eq!(
                run(sh(script)).unwrap(),
                Exit { code, asked: false },
                "{script}"
            );
        }
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(Command::new("/nonexistent/etcd")).unwrap_err();
        assert!(
            error.message().starts_with("`/nonexistent/etcd`: "),
            "{error}"
        );
    }

    /// The test runs itself again as the supervising process, because a signal goes to a whole process.
    #[test]
    fn signals_are_passed_on() {
        const IN_FRONT: &str = "USERNETES_TEST_IN_FRONT";
        if std::env::var_os(IN_FRONT).is_some() {
            let mut supervisor = Supervisor::new().unwrap();
            let trap = "trap 'exit 9' HUP; kill -HUP $PPID; while :; do sleep 0.01; done";
            let hung_up = supervisor.run(sh(trap), |_| ()).unwrap();
            let mut farewells = 0;
            let twice = "trap '' INT; trap 'exit 143' TERM; kill -INT $PPID; kill -TERM $PPID; while :; do sleep 0.01; done";
            let ended = supervisor
                .run_with_farewell(sh(twice), |_| (), || farewells += 1)
                .unwrap();
            assert_eq!(farewells, 1);
            assert_eq!(
                hung_up,
                Exit {
                    code: 9,
                    asked: false
                }
            );
            assert_eq!(
                ended,
                Exit {
                    code: 143,
                    asked: true
                }
            );
            return;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again
            .args([
                "--exact",
                "process::supervise::tests::signals_are_passed_on",
            ])
            .env(IN_FRONT, "1");
        output(again).unwrap();
    }

    #[test]
    fn the_error_of_a_failed_program_contains_its_stderr() {
        let error = output(sh("echo because >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("because"),
            "{error}"
        );
        assert_eq!(output(sh("echo 1; echo 2 >&2")).unwrap(), "1\n");
    }
}
