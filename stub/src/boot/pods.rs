//! Stops containers. When the namespaces end, every process in them is killed, so containers are asked to end before that.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::layout::Layout;
use crate::process::{crictl, say, supervise};

/// How long a container may take to end, in seconds.
const GRACE: u64 = 8;
/// How long all containers together may take. With the time that the container runtime needs to stop, this is less than
/// the unit may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// How many containers are asked at the same time. A single `crictl` would ask one after the other.
const AT_ONCE: usize = 16;

/// Asks the containers of all pods to end, with the signal that their images specify, and waits for a limited time. Failures
/// are only reported, because the namespaces end in any case.
pub(super) fn stop_containers(layout: &Layout, socket: &Path) {
    if !layout.program("crictl").exists() {
        return;
    }
    let (own, socket) = (layout.clone(), socket.to_owned());
    let command = move || crictl(&own, &socket);
    let started = Instant::now();
    let seconds = || format!("{:.1} s", started.elapsed().as_secs_f64());
    match stop_all(command) {
        Ok(Ended { all: 0, .. }) => {}
        Ok(Ended { in_time, all }) if in_time == all => {
            say(format!(
                "asked containers to end: {all} ended in {}",
                seconds()
            ));
        }
        Ok(Ended { in_time, all }) => say(format!(
            "asked containers to end: {in_time} of {all} ended in {}; killing the others",
            seconds()
        )),
        Err(error) => say(format!("cannot ask containers to end: {error}")),
    }
}

/// How many containers there were, and how many ended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ended {
    in_time: usize,
    all: usize,
}

fn stop_all(crictl: impl Fn() -> Command + Clone + Send + 'static) -> Result<Ended> {
    let mut list = crictl();
    list.args(["ps", "--quiet"]);
    let ids: VecDeque<String> = supervise::output(list)?
        .lines()
        .map(str::to_owned)
        .collect();
    let all = ids.len();
    let deadline = Instant::now() + PATIENCE;
    let queue = Arc::new(Mutex::new(ids));
    let (done, ends) = mpsc::channel();
    for _ in 0..AT_ONCE.min(all) {
        let (queue, done, crictl) = (Arc::clone(&queue), done.clone(), crictl.clone());
        // These threads are not joined. Those that still run end with the namespaces.
        thread::spawn(move || {
            let next = || {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.pop_front()
            };
            while let Some(id) = next() {
                let mut stop = crictl();
                stop.args(["stop", "--timeout", &GRACE.to_string(), &id]);
                stop.stdin(Stdio::null());
                let outcome = supervise::output(stop);
                // If the receiver is gone, the time is over and the container runtime is already being stopped.
                if done.send((id, outcome)).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let rest = || deadline.saturating_duration_since(Instant::now());
    let mut in_time = 0;
    while let Ok((id, outcome)) = ends.recv_timeout(rest()) {
        match outcome {
            Ok(_) => in_time += 1,
            Err(error) => say(format!("container {id}: {error}")),
        }
    }
    Ok(Ended { in_time, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fake `crictl` that lists containers, and logs the ones that it is told to stop.
    fn crictl(dir: &Path, ids: &str) -> impl Fn() -> Command + Clone + Send + 'static {
        let script = format!(
            r#"case "$1" in
                ps) printf '{ids}' ;;
                stop) [ "$4" != stubborn ] || exit 1; echo "$2 $3 $4" >> "$0" ;;
            esac"#
        );
        let log = dir.join("log");
        move || {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(&script).arg(&log);
            command
        }
    }

    #[test]
    fn every_container_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<_> = (0..20).map(|n| format!("c{n:02}")).collect();
        let lines = ids.join("\\n") + "\\n";
        let ended = stop_all(crictl(dir.path(), &lines)).unwrap();
        assert_eq!(
            ended,
            Ended {
                in_time: 20,
                all: 20
            }
        );
        let log = fs_err::read_to_string(dir.path().join("log")).unwrap();
        let mut asked: Vec<_> = log.lines().map(str::to_owned).collect();
        asked.sort();
        let expected: Vec<_> = ids
            .iter()
            .map(|id| format!("--timeout {GRACE} {id}"))
            .collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn the_others_are_stopped_if_one_cannot_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let ended = stop_all(crictl(dir.path(), "stubborn\\nc1\\n")).unwrap();
        assert_eq!(ended, Ended { in_time: 1, all: 2 });
        let none = stop_all(crictl(dir.path(), "")).unwrap();
        assert_eq!(none, Ended { in_time: 0, all: 0 });
    }
}
