//! A part of a command's work, counted in bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::ticker::Ticker;
use super::{PLAIN_INTERVAL, Progress, Style, bytes};

/// A part of a command's work, counted in bytes: a bar, or a line now and then.
#[derive(Debug)]
pub struct Task<'a> {
    progress: &'a Progress,
    count: Arc<Count>,
    _ticker: Option<Ticker>,
}

#[derive(Debug)]
struct Count {
    style: Style,
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    /// The bytes that were done already when this began.
    before: AtomicU64,
    /// The highest number that was ever shown: an estimate may turn out too high, but the shown count never goes back.
    shown: AtomicU64,
    started: Instant,
    said: Mutex<Said>,
    parts: Mutex<Parts>,
    bar: Option<ProgressBar>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    over: bool,
}

/// The work that reports nothing before it is done, and the speed of such work.
#[derive(Debug, Default)]
struct Parts {
    open: Vec<Open>,
    /// The work of all finished parts.
    work: u64,
    time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    bytes: u64,
    work: u64,
    started: Instant,
}

/// Bytes that are being worked on, and whose work reports nothing until all of them are done. Meanwhile the task shows an
/// estimate from the time that other parts took.
#[derive(Debug)]
pub struct Part<'a> {
    count: &'a Count,
    open: Open,
}

impl<'a> Task<'a> {
    pub(super) fn begin(progress: &'a Progress, label: String, total: u64) -> Self {
        let style = progress.style.clone();
        let template = if total == 0 {
            "  {spinner} {prefix:28} {decimal_bytes:>11} {decimal_bytes_per_sec:>13} {elapsed}"
        } else {
            "  {prefix:30} {bar:24} {decimal_bytes:>11} / {decimal_total_bytes:11} {decimal_bytes_per_sec:>13} {eta}"
        };
        let bar = style.bar(ProgressBar::new(total), template, &label);
        let silent = matches!(style, Style::Silent);
        let now = Instant::now();
        let count = Arc::new(Count {
            style,
            label,
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            before: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            started: now,
            said: Mutex::new(Said {
                at: now,
                over: false,
            }),
            parts: Mutex::default(),
            bar,
        });
        let ticking = Arc::clone(&count);
        Self {
            progress,
            count,
            _ticker: (!silent).then(|| Ticker::start(move || ticking.show())),
        }
    }

    /// Counts this many more bytes as done.
    pub fn advance(&self, bytes: u64) {
        self.count.done.fetch_add(bytes, Ordering::Relaxed);
        self.count.show();
    }

    /// Sets the bytes that are done in all, for work that begins in the middle or starts over.
    pub fn set(&self, bytes: u64) {
        self.count.done.store(bytes, Ordering::Relaxed);
        self.count.before.store(bytes, Ordering::Relaxed);
        self.count.shown.store(bytes, Ordering::Relaxed);
        self.count.show();
    }

    /// Sets the total, once it is known.
    pub fn set_total(&self, bytes: u64) {
        self.count.total.store(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.count.bar {
            bar.set_length(bytes);
        }
    }

    /// Tells how long this much work took one thread. Parts are estimated by it until the first of them is done.
    pub fn expect(&self, work: u64, time: Duration) {
        let mut parts = self.count.parts();
        (parts.work, parts.time) = (work, time);
    }

    /// Begins a part: one thread works on this many bytes and reports nothing until they are done. `work` says how long
    /// that takes in comparison with other parts.
    #[must_use]
    pub fn part(&self, bytes: u64, work: u64) -> Part<'_> {
        let open = Open {
            bytes,
            work,
            started: Instant::now(),
        };
        self.count.parts().open.push(open);
        Part {
            count: &self.count,
            open,
        }
    }

    /// Ends the task: removes its bar and prints a line with the outcome.
    pub fn finish(self, outcome: impl AsRef<str>) {
        self.count.end();
        self.progress.line(format!(
            "{}: {} ({:.1} s)",
            self.count.label,
            outcome.as_ref(),
            self.count.started.elapsed().as_secs_f64()
        ));
    }

    /// Ends the task without a line; the caller reports the outcome.
    pub fn clear(self) {}
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.count.end();
    }
}

impl Part<'_> {
    /// Counts all of its bytes as done.
    pub fn finish(self) {
        let (count, open) = (self.count, self.open);
        let mut parts = count.parts();
        parts.work += open.work;
        parts.time += open.started.elapsed();
        drop(parts);
        drop(self);
        count.done.fetch_add(open.bytes, Ordering::Relaxed);
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut parts = self.count.parts();
        if let Some(index) = parts.open.iter().position(|open| *open == self.open) {
            parts.open.swap_remove(index);
        }
    }
}

impl Count {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let shown = done + self.parts().estimate();
        let shown = self.shown.fetch_max(shown, Ordering::Relaxed).max(shown);
        if let Some(bar) = &self.bar {
            bar.set_position(shown);
            return;
        }
        if !matches!(self.style, Style::Plain) {
            return;
        }
        // If it is locked, another thread is printing at this moment.
        let Ok(mut said) = self.said.try_lock() else {
            return;
        };
        if said.over || said.at.elapsed() < PLAIN_INTERVAL {
            return;
        }
        said.at = Instant::now();
        let line = Line {
            done,
            before: self.before.load(Ordering::Relaxed),
            estimate: shown.saturating_sub(done),
            total: self.total.load(Ordering::Relaxed),
            elapsed: self.started.elapsed(),
        };
        self.style
            .line(&format!("{}: {} …", self.label, line.text()));
    }

    /// Stops reporting: nothing is printed after this.
    fn end(&self) {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .over = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Parts {
    /// How many bytes of the open parts are probably done by now.
    fn estimate(&self) -> u64 {
        let done = |open: &Open| {
            let expected = self.time.as_micros() * u128::from(open.work) / u128::from(self.work);
            let elapsed = open.started.elapsed().as_micros();
            scaled(open.bytes, u128::from(permille(elapsed, expected)), 1000)
        };
        if self.work == 0 {
            return 0;
        }
        self.open.iter().map(done).sum()
    }
}

/// How much of a part is probably done after this much of the expected time. The last quarter grows ever more slowly and
/// never reaches its end, because expectations are wrong, and a count that stands still looks like a program that hangs.
fn permille(elapsed: u128, expected: u128) -> u64 {
    const STRAIGHT: u128 = 750;
    const REST: u128 = 1000 - STRAIGHT;
    let share = elapsed * 1000 / expected.max(1);
    let over = share.saturating_sub(STRAIGHT);
    let share = share.min(STRAIGHT) + REST * over / (over + REST);
    u64::try_from(share).unwrap_or_default()
}

fn scaled(value: u64, by: u128, of: u128) -> u64 {
    u64::try_from(u128::from(value) * by / of.max(1)).unwrap_or(u64::MAX)
}

/// How far a task is, for a line.
struct Line {
    done: u64,
    before: u64,
    estimate: u64,
    total: u64,
    elapsed: Duration,
}

impl Line {
    fn text(&self) -> String {
        let done = self.done + self.estimate;
        let about = if self.estimate > 0 { "about " } else { "" };
        match (done, self.total) {
            (0, 0) => format!("{} s", self.elapsed.as_secs()),
            (_, 0) => format!("{about}{} after {} s", bytes(done), self.elapsed.as_secs()),
            (_, total) => format!("{about}{} of {}{}", bytes(done), bytes(total), self.left()),
        }
    }

    /// The time the rest will take if it goes on as it went, for the end of a line.
    fn left(&self) -> String {
        let done = self.done + self.estimate;
        let (Some(rest), Some(now)) = (
            self.total.checked_sub(done).filter(|rest| *rest > 0),
            done.checked_sub(self.before),
        ) else {
            return String::new();
        };
        // The first bytes say nothing about the speed of the others.
        if now < (now + rest).div_ceil(100) {
            return String::new();
        }
        let milliseconds = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        let seconds = scaled(milliseconds, rest.into(), now.into()).div_ceil(1000);
        match seconds {
            0..=90 => format!(", {seconds} s left"),
            _ => format!(", {} min left", seconds.div_ceil(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(done: u64, before: u64, estimate: u64, total: u64, seconds: u64) -> String {
        Line {
            done,
            before,
            estimate,
            total,
            elapsed: Duration::from_secs(seconds),
        }
        .text()
    }

    #[test]
    fn lines_say_how_far_it_is_and_how_long_the_rest_takes() {
        insta::assert_snapshot!(
            [
                line(0, 0, 0, 0, 20),
                line(5_000_000, 0, 0, 0, 20),
                line(0, 0, 0, 119_000_000, 10),
                line(0, 0, 7_000_000, 119_000_000, 10),
                line(30_000_000, 0, 0, 40_000_000, 60),
                // Bytes that an earlier run fetched say nothing about the speed of this one.
                line(30_000_000, 25_000_000, 0, 40_000_000, 60),
                line(40_000_000, 0, 0, 40_000_000, 60),
                line(46, 0, 0, 40_000_000, 10),
            ]
            .join("\n"),
            @r"
        20 s
        5.0 MB after 20 s
        0 B of 119.0 MB
        about 7.0 MB of 119.0 MB, 3 min left
        30.0 MB of 40.0 MB, 20 s left
        30.0 MB of 40.0 MB, 2 min left
        40.0 MB of 40.0 MB
        46 B of 40.0 MB
        "
        );
    }

    #[test]
    fn the_count_moves_while_a_part_is_worked_on_and_never_reaches_its_end() {
        let shares = [0, 100, 750, 1000, 2000, 100_000].map(|elapsed| permille(elapsed, 1000));
        assert_eq!(shares, [0, 100, 750, 875, 958, 999]);
        let progress = Progress::silent();
        let task = progress.task("compress", 1000);
        let part = task.part(800, 1600);
        assert_eq!(task.count.parts().estimate(), 0);
        task.expect(100, Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(20));
        let estimate = task.count.parts().estimate();
        assert!((700..800).contains(&estimate), "{estimate}");
        part.finish();
        assert_eq!(task.count.parts().estimate(), 0);
        assert_eq!(task.count.done.load(Ordering::Relaxed), 800);
    }
}
