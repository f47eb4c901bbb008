//! Tests of output that cannot be written: messages are dropped and the command goes on, but for data it is an error.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, tcflow};

use support::home::spawn;
use support::stage::{SYSTEMCTL, Stage};

/// Longer than any command takes that is not held up, and longer than the program waits for a reader that does not read.
const LONG: Duration = Duration::from_mins(2);

/// Runs an installation with these streams, and checks that it is complete.
fn installs(stage: &Stage, how: &str, streams: impl FnOnce(&mut Command)) {
    let mut command = stage.command(&stage.bundle);
    command.args(["install", "--force", "--start", ""]);
    command.stdout(Stdio::null());
    streams(&mut command);
    let code = ends(&mut command, how);
    assert_eq!(code, Some(0), "{how}");
    assert_eq!(stage.home.damages(), [], "{how}");
    assert!(stage.units().join("u7s.target").exists(), "{how}");
}

/// Runs a command that must end by itself, and returns its exit code.
fn ends(command: &mut Command, how: &str) -> Option<i32> {
    let mut child = spawn(command);
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > LONG {
            child.kill().unwrap();
            panic!("{how}: it is held up");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A pipe that is full.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut length = 0;
    for piece in [4096, 1] {
        while let Ok(count) = writer.write(&vec![b'x'; piece]) {
            length += count;
        }
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer, length)
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn an_installation_does_not_depend_on_who_reads_its_messages() {
    let stage = Stage::new(&["etcd"]);
    installs(&stage, "nobody reads any more", |command| {
        command.stderr(pipe().unwrap().1);
    });
    // Without units, each run of `install` has something to do and to report.
    let again = || fs::remove_dir_all(stage.units()).unwrap();
    again();
    installs(&stage, "the disk is full", |command| {
        command.stderr(full());
    });
    again();
    let (_reader, writer, _) = full_pipe();
    installs(&stage, "the reader sleeps", |command| {
        command.stderr(writer);
    });
    again();
    let (_reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    while rustix::net::send(&writer, &[0; 4096], rustix::net::SendFlags::DONTWAIT).is_ok() {}
    installs(&stage, "a socket that nobody reads", |command| {
        command.stderr(std::os::fd::OwnedFd::from(writer));
    });
}

#[test]
fn a_terminal_that_is_stopped_stops_nothing() {
    let stage = Stage::new(&["etcd"]);
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let mut options = File::options();
    options.read(true).write(true);
    options.custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let terminal = options.open(name.to_str().unwrap()).unwrap();
    // This stops the terminal's output, as ^S does.
    tcflow(&terminal, Action::OOff).unwrap();
    installs(&stage, "^S", |command| {
        command.stderr(terminal.try_clone().unwrap());
    });
    // It also works on a terminal that has been closed.
    drop(master);
    fs::remove_dir_all(stage.units()).unwrap();
    installs(&stage, "hung up", |command| {
        command.stderr(terminal);
    });
}

/// If stderr is closed, the next file that is opened could get its number, and then the messages.
#[test]
fn closed_descriptors_do_not_send_messages_into_files() {
    let stage = Stage::new(&["etcd"]);
    let bundle = stage.bundle.display();
    let mut command = stage.command(Path::new("/bin/sh"));
    command.args([
        "-c",
        &format!("exec '{bundle}' install --force --start '' <&- >&- 2>&-"),
    ]);
    assert_eq!(ends(&mut command, "closed"), Some(0));
    assert_eq!(stage.home.damages(), []);
    let config = stage.home.path().join(".config/usernetes/config.toml");
    assert!(!fs::read_to_string(config).unwrap().contains("unpack:"));
}

#[test]
fn the_work_goes_on_when_the_terminal_is_gone() {
    let stage = Stage::new(&["etcd"]);
    let hang_up = SYSTEMCTL.replacen("#!/bin/sh\n", "#!/bin/sh\nkill -HUP $PPID\n", 1);
    stage.home.program("programs/systemctl", hang_up.as_bytes());
    let said = stage.install(&["--start", "u7s-etcd.target"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(stage.calls().contains("start"), "nothing was started");
}

#[test]
fn data_that_cannot_be_written_is_an_error() {
    let stage = Stage::new(&["etcd"]);
    for arguments in [
        &["list"][..],
        &["verify", "--json"],
        &["sbom"],
        &["--help"],
        &["list", "--help"],
    ] {
        let mut command = stage.command(&stage.bundle);
        let output = spawn(
            command
                .args(arguments)
                .stdout(full())
                .stderr(Stdio::piped()),
        )
        .wait_with_output()
        .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {said}");
        assert!(
            said.contains("could not be written to stdout: No space left"),
            "{said}"
        );
        assert!(said.contains("hint: free some space"), "{said}");
        // The reader has closed the pipe, as `head` does.
        let mut command = stage.command(&stage.bundle);
        let output = spawn(
            command
                .args(arguments)
                .stdout(pipe().unwrap().1)
                .stderr(Stdio::piped()),
        )
        .wait_with_output()
        .unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "",
            "{arguments:?}"
        );
    }
}

/// No data is lost if the reader is slow, even if another process has made the pipe non-blocking.
#[test]
fn no_data_is_lost_if_the_reader_is_slow() {
    let stage = Stage::new(&["etcd"]);
    let list = stage.home.run(&stage.bundle, &["list"]).stdout;
    let (mut reader, writer, length) = full_pipe();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let mut command = stage.command(&stage.bundle);
    let mut child = spawn(command.arg("list").stdout(writer).stderr(Stdio::null()));
    drop(command);
    thread::sleep(Duration::from_millis(300));
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(read[length..], list);
}
