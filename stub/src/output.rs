//! The only way of text out of both programs: data to stdout, messages to stderr.
//!
//! Data that cannot be written is an error, because somebody waits for it. A message that cannot be written is lost, and
//! the work goes on: a cluster must not suffer because stderr is closed, full, or read by nobody. Therefore nothing here
//! panics, and no message waits longer than [`PATIENCE`] for its reader: otherwise a pipe that is not emptied, or a
//! terminal stopped with ^S, would stop the work.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::panic;
use std::process::{ExitCode, Termination};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::error::{Error, Kind, Result};
use crate::signals;

/// How long a message waits for a reader that has stopped reading. Later messages do not wait at all until it reads again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the error that ends a process waits: there is no work left that it could delay.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two attempts to write.
const PAUSE: Duration = Duration::from_millis(10);

/// The number of bytes that can be written without waiting if [`poll`] says that a pipe is writable (POSIX, `PIPE_BUF`).
const PIECE: usize = 512;

static MESSAGES: Mutex<Messages> = Mutex::new(Messages {
    way: None,
    stalled: false,
    lost: 0,
});

/// Writes a line to stderr, or loses it.
pub fn message(text: &str) {
    messages().line(text, PATIENCE);
}

/// Writes the last line of a process to stderr. It waits longer than others, but not for ever.
pub(crate) fn last_message(text: &str) {
    let mut messages = messages();
    messages.stalled = false;
    messages.line(text, LAST_PATIENCE);
}

/// Writes a part of a moving picture, such as a progress bar, to stderr. Any part that does not fit at once is lost: the
/// next picture replaces it.
pub(crate) fn picture(text: &str) {
    messages().write(text.as_bytes(), Duration::ZERO);
}

/// Whether messages go to a terminal.
#[must_use]
pub(crate) fn on_terminal() -> bool {
    stderr().is_terminal()
}

/// Columns and rows of the terminal that messages go to, or 80 and 24.
#[must_use]
pub(crate) fn terminal_size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

/// Writes data to stdout. A reader that has gone away, such as `head`, wants no more of it and is no error.
///
/// # Errors
/// Anything else that keeps some of it from being written, such as a full disk.
pub fn data(text: &str) -> Result<()> {
    let stdout = stdout();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(&stdout, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Another process made stdout non-blocking; data waits for its reader as long as necessary.
            Err(Errno::AGAIN) => {
                can_write(stdout.as_fd(), None);
            }
            Err(Errno::PIPE) => return Ok(()),
            Err(error) => {
                return Err(Error::from(io::Error::from(error))
                    .about("the output could not be written to stdout")
                    .detail(
                        "written",
                        format!("{} of {} bytes", text.len() - rest.len(), text.len()),
                    ));
            }
        }
    }
    Ok(())
}

/// Prints an error as the last line of a process, and gives the exit code it stands for.
#[must_use]
pub fn report(error: &Error) -> ExitCode {
    last_message(&format!("error: {error}"));
    ExitCode::from(error.kind().exit_code())
}

/// Is the `main` of a program with the command line `C`: prints what is wrong with it, or runs the program and prints its error.
/// Gives the exit code of the process.
#[must_use]
pub fn main<C: clap::Parser, T: Termination>(program: impl FnOnce(C) -> Result<T>) -> ExitCode {
    report_panics();
    signals::outlive_file_size_limit();
    match C::try_parse().map(program) {
        Ok(Ok(value)) => value.report(),
        Ok(Err(error)) => report(&error),
        Err(error) => command_line(&error),
    }
}

/// Prints what the parser of the command line has to say, and gives the exit code of the process: help is data,
/// everything else an error.
#[must_use]
fn command_line(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        last_message(text.trim_end());
        return ExitCode::from(Kind::Usage.exit_code());
    }
    match data(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Makes a panic, which is a bug of this program, be reported like any other error. Whether it ends the process is decided
/// elsewhere.
fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |l| format!(" at {l}"));
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        last_message(&format!(
            "error: a fault in this program{place}: {text}\n\nhint: run the same command again; please report this with the lines above"
        ));
    }));
}

/// The state of stderr.
struct Messages {
    /// `None` until the first message.
    way: Option<Way>,
    /// The last attempt failed because nobody reads, so messages do not wait.
    stalled: bool,
    /// Messages lost since the last one that was written.
    lost: u64,
}

/// How to write without being held up.
enum Way {
    /// A pipe or a terminal, opened once more so that it is non-blocking for us alone.
    Own(OwnedFd),
    Socket,
    /// Anything else: a file, `/dev/null`, or a pipe or a terminal that cannot be opened.
    Plain,
}

fn messages() -> MutexGuard<'static, Messages> {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Messages {
    fn line(&mut self, text: &str, patience: Duration) {
        let note = match self.lost {
            0 => String::new(),
            1 => "(1 message could not be shown)\n".to_owned(),
            lost => format!("({lost} messages could not be shown)\n"),
        };
        if self.write(format!("{note}{text}\n").as_bytes(), patience) {
            self.lost = 0;
        } else {
            self.lost += 1;
        }
    }

    /// Whether all of it was written.
    fn write(&mut self, text: &[u8], patience: Duration) -> bool {
        let patience = if self.stalled {
            Duration::ZERO
        } else {
            patience
        };
        let started = Instant::now();
        let way = self.way.get_or_insert_with(Way::find);
        let mut rest = text;
        while !rest.is_empty() {
            match way.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if started.elapsed() < patience => thread::sleep(PAUSE),
                Err(error) => {
                    self.stalled |= error == Errno::AGAIN && !patience.is_zero();
                    return false;
                }
            }
        }
        self.stalled = false;
        true
    }
}

impl Way {
    fn find() -> Self {
        let kind = rustix::fs::fstat(stderr()).map(|s| FileType::from_raw_mode(s.st_mode));
        match kind {
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::Fifo) => Self::own(),
            Ok(FileType::CharacterDevice) if on_terminal() => Self::own(),
            _ => Self::Plain,
        }
    }

    /// The non-blocking flag belongs to the open file, which the shell and its other programs share: set there,
    /// it would break them.
    fn own() -> Self {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/fd/2", flags, Mode::empty()).map_or(Self::Plain, Self::Own)
    }

    /// Writes some of it. [`Errno::AGAIN`] where that would have to wait.
    fn write(&self, text: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Own(own) => rustix::io::write(own, text),
            Self::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(stderr(), text, flags)
            }
            Self::Plain if can_write(stderr().as_fd(), Some(Timespec::default())) => {
                rustix::io::write(stderr(), text.get(..PIECE).unwrap_or(text))
            }
            Self::Plain => Err(Errno::AGAIN),
        }
    }
}

/// Waits until something can be written, no longer than `limit`. An error counts as writable: the write will report it.
fn can_write(file: BorrowedFd<'_>, limit: Option<Timespec>) -> bool {
    let mut files = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
    !matches!(poll(&mut files, limit.as_ref()), Ok(0))
}

#[expect(clippy::disallowed_methods, reason = "the one place that writes there")]
fn stdout() -> io::Stdout {
    io::stdout()
}

#[expect(clippy::disallowed_methods, reason = "the one place that writes there")]
fn stderr() -> io::Stderr {
    io::stderr()
}
