//! Showing what a long-running command does: bars on a terminal, plain lines elsewhere, always on stderr.
//!
//! Long work is a [`Task`], which is counted in bytes, or a [`Wait`], which is not. Both report every ten seconds, even
//! while the work itself reports nothing.

mod picture;
mod task;
mod ticker;
mod wait;

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{child, output};

pub use task::{Part, Task};
pub use wait::Wait;

/// How often progress is reported where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where a command reports. Threads share it, by reference or as a clone.
#[derive(Debug, Clone)]
pub struct Progress {
    style: Style,
}

#[derive(Debug, Clone)]
enum Style {
    Silent,
    Plain,
    Bars(MultiProgress),
}

impl Progress {
    /// Bars if stderr is a terminal, plain lines otherwise. Also plain lines if the programs that run are shown, whose lines
    /// would lie across the bars.
    #[must_use]
    pub fn stderr() -> Self {
        let style = if output::on_terminal() && !child::shown() {
            Style::Bars(MultiProgress::with_draw_target(picture::target()))
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
    pub fn line(&self, text: impl AsRef<str>) {
        self.style.line(text.as_ref());
    }

    /// Begins to wait for something.
    pub fn wait(&self, label: impl Into<String>) -> Wait {
        Wait::begin(self.style.clone(), label.into())
    }

    /// Begins a task of `total` bytes; 0 means that the number is unknown.
    pub fn task(&self, label: impl Into<String>, total: u64) -> Task<'_> {
        Task::begin(self, label.into(), total)
    }
}

impl Style {
    fn line(&self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Plain => output::message(text),
            Self::Bars(bars) => bars.suspend(|| output::message(text)),
        }
    }

    /// Adds a bar with this template, if progress is shown as bars.
    fn bar(&self, bar: ProgressBar, template: &str, label: &str) -> Option<ProgressBar> {
        let Self::Bars(bars) = self else { return None };
        let bar = bars.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        Some(bar)
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
