//! Showing what a long-running command does: bars on a terminal, plain lines elsewhere, always on stderr.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a task without a terminal says how far it is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where a command reports. Share it by reference between threads.
#[derive(Debug)]
pub struct Progress {
    style: Style,
}

#[derive(Debug)]
enum Style {
    Silent,
    Plain,
    Bars(MultiProgress),
}

impl Progress {
    /// Bars if stderr is a terminal, plain lines otherwise.
    #[must_use]
    pub fn stderr() -> Self {
        let style = if stderr().is_terminal() {
            Style::Bars(MultiProgress::with_draw_target(
                ProgressDrawTarget::stderr_with_hz(10),
            ))
        } else {
            Style::Plain
        };
        Self { style }
    }

    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            style: Style::Silent,
        }
    }

    /// Prints a line.
    #[expect(clippy::print_stderr, reason = "progress is what stderr is for")]
    pub fn line(&self, text: impl AsRef<str>) {
        match &self.style {
            Style::Silent => {}
            Style::Plain => eprintln!("{}", text.as_ref()),
            Style::Bars(bars) => bars.suspend(|| eprintln!("{}", text.as_ref())),
        }
    }

    /// Begins to wait for something.
    pub fn wait(&self, label: impl Into<String>) -> Wait<'_> {
        let label = label.into();
        let bar = match &self.style {
            Style::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) =
                    ProgressStyle::with_template("  {spinner} {prefix} {msg} {elapsed}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(label.clone());
                bar.enable_steady_tick(Duration::from_millis(200));
                Some(bar)
            }
            _ => None,
        };
        Wait {
            progress: self,
            label,
            started: Instant::now(),
            said: Mutex::new((String::new(), Instant::now())),
            bar,
        }
    }

    /// Begins a task of so many bytes. `total` 0 means that nobody knows how many.
    pub fn task(&self, label: impl Into<String>, total: u64) -> Task<'_> {
        let label = label.into();
        let bar = match &self.style {
            Style::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total));
                let template = if total == 0 {
                    "  {spinner} {prefix:28} {bytes:>11} {bytes_per_sec:>13} {elapsed}"
                } else {
                    "  {prefix:30} {bar:24} {bytes:>11} / {total_bytes:11} {bytes_per_sec:>13} {eta}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_prefix(label.clone());
                Some(bar)
            }
            _ => None,
        };
        Task {
            progress: self,
            label,
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            started: Instant::now(),
            said: Mutex::new(Instant::now()),
            bar,
        }
    }
}

/// A wait for something whose end nobody can foretell: a spinner with the time, or a line now and then.
#[derive(Debug)]
pub struct Wait<'a> {
    progress: &'a Progress,
    label: String,
    started: Instant,
    said: Mutex<(String, Instant)>,
    bar: Option<ProgressBar>,
}

impl Wait<'_> {
    /// How things stand. Without a terminal it becomes a line if it is news, or if nothing was said for a while.
    pub fn say(&self, state: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(state.to_owned());
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.0 == state && said.1.elapsed() < PLAIN_INTERVAL {
            return;
        }
        *said = (state.to_owned(), Instant::now());
        let seconds = self.started.elapsed().as_secs();
        self.progress
            .line(format!("{}: {state} ({seconds} s) …", self.label));
    }

    /// It is over: a line says what came of it. Gives the seconds it took.
    pub fn finish(self, outcome: &str) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress
            .line(format!("{}: {outcome} ({seconds:.1} s)", self.label));
        seconds
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A part of a command's work, counted in bytes.
#[derive(Debug)]
pub struct Task<'a> {
    progress: &'a Progress,
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    started: Instant,
    said: Mutex<Instant>,
    bar: Option<ProgressBar>,
}

impl Task<'_> {
    /// So many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.show(done);
    }

    /// So many bytes are done in all, when work begins in the middle or starts over.
    pub fn set(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
        self.show(bytes);
    }

    /// The total became known.
    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(bytes);
        }
    }

    /// The task is over: its bar goes, and a line says what came of it.
    pub fn finish(self, outcome: impl AsRef<str>) {
        let Self {
            progress,
            label,
            started,
            bar,
            ..
        } = self;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        progress.line(format!(
            "{label}: {} ({:.1} s)",
            outcome.as_ref(),
            started.elapsed().as_secs_f64()
        ));
    }

    /// The task is over, and something else will say what came of it.
    pub fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn show(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        if !matches!(self.progress.style, Style::Plain) {
            return;
        }
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.elapsed() < PLAIN_INTERVAL {
            return;
        }
        *said = Instant::now();
        let of = match self.total.load(Ordering::Relaxed) {
            0 => String::new(),
            total => format!(" of {}", bytes(total)),
        };
        self.progress
            .line(format!("{}: {}{of} …", self.label, bytes(done)));
    }
}

/// A number of bytes for people: `81.3 MB`, in powers of 1000 as disks and downloads are sold.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "shown with one digit behind the point"
)]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn byte_counts_for_people() {
        let shown = [
            0,
            999,
            1000,
            81_277_090,
            999_949_999,
            999_950_000,
            5_000_000_000_000,
        ]
        .map(bytes);
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.0 kB", "81.3 MB", "999.9 MB", "1.0 GB", "5.0 TB"
            ]
        );
    }
}
