//! Running another program to its end.
//!
//! Both programs run others in this one way: an error names the program, its arguments, its status and the last line that it
//! wrote to stderr, and after [`show`] each command is a line on stderr before it runs.

use std::env;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};
use crate::{output, shell};

static SHOWN: AtomicBool = AtomicBool::new(false);

/// From now on, each program that is run is a line on stderr: `+ program arguments`.
pub fn show() {
    SHOWN.store(true, Ordering::Relaxed);
}

/// Whether each program that is run is shown.
#[must_use]
pub fn shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

/// Shows a command that is about to run, if that was asked for. [`run`] does this itself; those who start a program in
/// another way call this first.
pub fn announce(command: &Command) {
    if shown() {
        output::message(&format!("+ {}", line(command)));
    }
}

/// Cargo, for a program that `cargo run` may have started: then it is the same one. What `cargo run` says of that program's package
/// in the environment is left out. Some build scripts run again if it changes, and then crates are compiled again that are there.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// A command as a line that a shell would take. It does not show the environment.
fn line(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| shell::word(&word.to_string_lossy()))
        .collect();
    words.join(" ")
}

/// A program that has ended, well or not.
#[derive(Debug)]
pub struct Ended {
    program: String,
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// The bytes that it wrote to stdout.
    pub stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a program to its end, and keeps what it writes unless `command` says where that goes. It reads nothing from stdin
/// unless `command` says so.
///
/// # Errors
/// [`Kind::Host`] if it cannot be started. Failing is no error here: see [`Ended::success`].
pub fn run(command: &mut Command) -> Result<Ended> {
    try_run(command)?.ok_or_else(|| {
        let error = cannot_start(command);
        error
            .found("no such program")
            .hint("install it, or correct PATH")
    })
}

/// Does what [`run`] does. Gives `None` if there is no such program.
pub fn try_run(command: &mut Command) -> Result<Option<Ended>> {
    announce(command);
    match command.output() {
        Ok(output) => Ok(Some(Ended::of(command, output))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(cannot_start(command).found(error)),
    }
}

/// Does what [`run`] does for a program that reads `input`, which must fit into a pipe (64 KiB), from stdin.
pub fn run_with(command: &mut Command, input: &str) -> Result<Ended> {
    announce(command);
    let pipe = Stdio::piped;
    let started = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn();
    let mut child = started.map_err(|error| {
        let error = cannot_start(command).found(error);
        error.hint("install it, or correct PATH")
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It has ended before it read everything: its status and stderr say why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            result => result?,
        }
    }
    Ok(Ended::of(command, child.wait_with_output()?))
}

/// Whether an error of starting a program means that there is none: the second kind comes from a PATH with a directory that
/// may not be searched.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::PermissionDenied
    )
}

fn cannot_start(command: &Command) -> Error {
    let program = command.get_program().to_string_lossy();
    Error::new(Kind::Host, format!("cannot run `{program}`")).detail("command", line(command))
}

impl Ended {
    fn of(command: &Command, output: std::process::Output) -> Self {
        Self {
            program: command.get_program().to_string_lossy().into_owned(),
            line: line(command),
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        }
    }

    /// The text that it wrote to stdout if it ended well, otherwise the [error](Self::error).
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            return Err(self.error());
        }
        Ok(String::from_utf8_lossy(&self.stdout).into_owned())
    }

    /// Everything that it wrote to stderr, without white space around it.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }

    /// An error of [`Kind::Host`] about how it ended.
    #[must_use]
    pub fn error(&self) -> Error {
        let error = Error::new(Kind::Host, format!("`{}` failed", self.program))
            .detail("command", &self.line)
            .detail("status", self.status);
        match self.said().lines().next_back() {
            Some(last) => error.detail("it says", last),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_last_words() {
        let ended = run(&mut shell("echo first >&2; echo oh dear >&2; exit 3")).unwrap();
        insta::assert_snapshot!(ended.success().unwrap_err(), @r"
        `/bin/sh` failed
          command  /bin/sh -c 'echo first >&2; echo oh dear >&2; exit 3'
          status   exit status: 3
          it says  oh dear
        ");
        let ended = run(&mut shell("kill -9 $$")).unwrap();
        insta::assert_snapshot!(ended.success().unwrap_err(), @r"
        `/bin/sh` failed
          command  /bin/sh -c 'kill -9 $$'
          status   signal: 9 (SIGKILL)
        ");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut missing = Command::new("no-such-program");
        missing.arg("a b");
        assert!(try_run(&mut missing).unwrap().is_none());
        insta::assert_snapshot!(run(&mut missing).unwrap_err(), @r"
        cannot run `no-such-program`
          command  no-such-program 'a b'
          found    no such program

        hint: install it, or correct PATH
        ");
        let error = run_with(&mut missing, "").unwrap_err();
        assert_eq!(error.message(), "cannot run `no-such-program`");
    }

    #[test]
    fn output_and_input_are_passed() {
        assert_eq!(run(&mut shell("echo a")).unwrap().success().unwrap(), "a\n");
        let cat = run_with(&mut shell("cat; echo b >&2"), "a").unwrap();
        assert_eq!(cat.said(), "b");
        assert_eq!(cat.success().unwrap(), "a");
        // Nothing to read unless given.
        assert_eq!(run(&mut shell("cat")).unwrap().success().unwrap(), "");
        // It does not read what it is given.
        let ended = run_with(&mut shell("exit 4"), &"x".repeat(1000)).unwrap();
        assert_eq!(ended.status.code(), Some(4));
    }
}
