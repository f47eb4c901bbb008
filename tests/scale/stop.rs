//! A signal ends the program between two steps of its work, so that it can remove what it has made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use stub::error::{Error, Kind, Result};

/// How long a signal may be unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// Whether a signal has come.
#[derive(Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on, the first signal is noticed, and the second one ends the process at once.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.0))?;
            flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Waits this long. Fails if a signal has come.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            if self.0.load(Ordering::Relaxed) {
                return Err(Error::new(
                    Kind::Failed,
                    "a signal has ended the measurement",
                ));
            }
            let rest = time.saturating_sub(began.elapsed());
            if rest.is_zero() {
                return Ok(());
            }
            thread::sleep(rest.min(TICK));
        }
    }

    /// What a signal does, for tests.
    #[cfg(test)]
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_pause() {
        let stop = Stop::default();
        stop.pause(Duration::from_millis(1)).unwrap();
        stop.now();
        let began = Instant::now();
        stop.pause(Duration::from_mins(1)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
