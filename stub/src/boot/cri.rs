//! Runs the container runtime inside the namespaces, and starts it again if it crashes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};
use crate::process::notify::{Listener, NOTIFY_SOCKET};
use crate::process::say;
use crate::process::supervise::Supervisor;

/// Returns, with an error that describes it, when something has ended that the runtime needs.
pub(super) type Watch = Box<dyn FnOnce() -> Error + Send>;

/// Runs the container runtime to its end and returns its exit code.
///
/// When the runtime first reports that it is ready, `on_serving` is called in a thread of its own. If that fails, the
/// runtime is stopped, and the error is returned. The same happens when one of the `watches` returns.
///
/// If the runtime was ready and ends without being asked to, it is started again, because containers keep running without
/// it. If it is ready and this process is asked to end, `farewell` is called before the request is passed on.
pub(super) fn run(
    runtime: impl Fn() -> Command,
    watches: Vec<Watch>,
    notify_socket: &Path,
    on_serving: impl FnOnce() -> Result<()> + Send + 'static,
    farewell: impl Fn(),
) -> Result<u8> {
    let mut supervisor = Supervisor::new()?;
    let (failed, failure) = mpsc::channel();
    let (pids, newest_pid) = mpsc::channel();
    spawn_watches(watches, &failed, newest_pid);
    let mut on_serving = Some(on_serving);
    loop {
        let listener = Listener::bind(notify_socket.to_owned())?;
        let mut command = runtime();
        command.env(NOTIFY_SOCKET, listener.path());
        let served = Arc::new(AtomicBool::new(false));
        let started = |pid| {
            // This fails if there are no watches.
            let _ = pids.send(pid);
            let (served, on_serving, failed) =
                (Arc::clone(&served), on_serving.take(), failed.clone());
            thread::spawn(move || {
                if let Err(error) = once_serving(&listener, &served, on_serving) {
                    // The receiver exists until the runtime has ended.
                    let _ = failed.send(error);
                    stop(pid);
                }
            });
        };
        let outcome = supervisor.run_with_farewell(command, started, || {
            if served.load(Ordering::Relaxed) {
                farewell();
            }
        })?;
        if let Ok(error) = failure.try_recv() {
            return Err(error);
        }
        if outcome.asked || !served.load(Ordering::Relaxed) {
            return Ok(outcome.code);
        }
        say(format!(
            "the container runtime ended with code {}; starting it again",
            outcome.code
        ));
    }
}

fn once_serving(
    listener: &Listener,
    served: &AtomicBool,
    on_serving: Option<impl FnOnce() -> Result<()>>,
) -> Result<()> {
    let started = Instant::now();
    listener.wait_ready()?;
    served.store(true, Ordering::Relaxed);
    say(format!(
        "the container runtime is ready after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    on_serving.map_or(Ok(()), |on_serving| on_serving())
}

/// Stops the newest runtime when a watch returns.
fn spawn_watches(watches: Vec<Watch>, failed: &mpsc::Sender<Error>, pids: mpsc::Receiver<Pid>) {
    let (ended, first_end) = mpsc::channel();
    for watch in watches {
        let ended = ended.clone();
        // Only the first end is received; sending another one may fail.
        thread::spawn(move || drop(ended.send(watch())));
    }
    let failed = failed.clone();
    thread::spawn(move || {
        // The runtime may not have started yet, and it may have been started again since.
        if let Ok(error) = first_end.recv()
            && failed.send(error).is_ok()
            && let Ok(first) = pids.recv()
        {
            stop(pids.try_iter().last().unwrap_or(first));
        }
    });
}

fn stop(pid: Pid) {
    // This fails if the runtime has already ended.
    let _ = kill_process(pid, Signal::TERM);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    /// Sends `READY=1` as soon as somebody listens on the socket.
    fn say_ready(socket: &Path) {
        let to = socket.to_owned();
        thread::spawn(move || {
            let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
            while sender.send_to(b"READY=1", &to).is_err() {
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_failure_after_the_runtime_is_ready_stops_the_runtime_and_is_returned() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        say_ready(&socket);
        let load = || Err(Error::new(Kind::Input, "pause.tar is damaged"));
        let error = run(|| sh("exec sleep 1000"), Vec::new(), &socket, load, || ()).unwrap_err();
        assert_eq!(error.message(), "pause.tar is damaged");
    }

    #[test]
    fn the_exit_code_of_a_runtime_that_was_never_ready_is_returned() {
        let dir = tempfile::tempdir().unwrap();
        let code = run(
            || sh("exit 3"),
            Vec::new(),
            &dir.path().join("notify"),
            || Ok(()),
            || (),
        )
        .unwrap();
        assert_eq!(code, 3);
    }

    #[test]
    fn the_runtime_is_stopped_when_a_watch_returns() {
        let dir = tempfile::tempdir().unwrap();
        let watch: Watch = Box::new(|| Error::new(Kind::Failed, "the network is gone"));
        let socket = dir.path().join("notify");
        let error = run(
            || sh("exec sleep 1000"),
            vec![watch],
            &socket,
            || Ok(()),
            || (),
        )
        .unwrap_err();
        assert_eq!(error.message(), "the network is gone");
    }
}
