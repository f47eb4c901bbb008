//! A thread that calls a function again and again.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The time between two calls.
const INTERVAL: Duration = Duration::from_millis(500);

/// The thread only prints a line.
const STACK: usize = 256 << 10;

/// Calls a function twice a second until it is dropped. Then one last call may still be under way.
#[derive(Debug)]
pub(super) struct Ticker {
    _alive: Sender<()>,
}

impl Ticker {
    /// Where the machine refuses another thread, the function is not called.
    pub(super) fn start(tick: impl Fn() + Send + 'static) -> Self {
        let (alive, gone) = channel();
        let run = move || {
            while gone.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        let _ = thread::Builder::new().stack_size(STACK).spawn(run);
        Self { _alive: alive }
    }
}
