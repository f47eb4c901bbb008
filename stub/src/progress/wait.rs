//! A wait whose length is unknown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::ticker::Ticker;
use super::{PLAIN_INTERVAL, Style};

/// A wait: a spinner with the time, or a line now and then.
#[derive(Debug)]
pub struct Wait {
    shown: Arc<Shown>,
    _ticker: Option<Ticker>,
}

#[derive(Debug)]
struct Shown {
    style: Style,
    label: String,
    started: Instant,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
}

#[derive(Debug)]
struct State {
    text: String,
    said: Instant,
    over: bool,
}

impl Wait {
    pub(super) fn begin(style: Style, label: String) -> Self {
        let bar = ProgressBar::new_spinner();
        let bar = style.bar(bar, "  {spinner} {prefix} {msg} {elapsed}", &label);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let plain = matches!(style, Style::Plain);
        let now = Instant::now();
        let shown = Arc::new(Shown {
            style,
            label,
            started: now,
            state: Mutex::new(State {
                text: String::new(),
                said: now,
                over: false,
            }),
            bar,
        });
        let ticking = Arc::clone(&shown);
        Self {
            shown,
            _ticker: plain.then(|| Ticker::start(move || ticking.say(None))),
        }
    }

    /// Shows the present state. Without a terminal, it is printed if it is new or if nothing was printed for a while.
    pub fn say(&self, state: &str) {
        if let Some(bar) = &self.shown.bar {
            bar.set_message(state.to_owned());
        } else {
            self.shown.say(Some(state));
        }
    }

    /// Ends the wait and prints a line with the outcome. Gives the seconds it took.
    #[expect(clippy::must_use_candidate, reason = "the line is what it is for")]
    pub fn finish(self, outcome: &str) -> f64 {
        let seconds = self.shown.started.elapsed().as_secs_f64();
        self.shown.end();
        let label = &self.shown.label;
        self.shown
            .style
            .line(&format!("{label}: {outcome} ({seconds:.1} s)"));
        seconds
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.shown.end();
    }
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a new state, or the present one again when it is time.
    fn say(&self, text: Option<&str>) {
        let mut state = self.state();
        let news = text.is_some_and(|text| state.text != text);
        if state.over || (!news && state.said.elapsed() < PLAIN_INTERVAL) {
            return;
        }
        if let Some(text) = text {
            text.clone_into(&mut state.text);
        }
        state.said = Instant::now();
        let seconds = self.started.elapsed().as_secs();
        let separator = if state.text.is_empty() { "" } else { " " };
        self.style.line(&format!(
            "{}: {}{separator}({seconds} s) …",
            self.label, state.text
        ));
    }

    /// Stops reporting: nothing is printed after this.
    fn end(&self) {
        self.state().over = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
