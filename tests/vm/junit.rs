//! The results of scenarios, as a table for people, and as XML in the form of `JUnit` for other programs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::Result;

/// What became of one scenario.
#[derive(Debug)]
pub struct Case {
    name: String,
    took: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Passed,
    Failed(String),
    LeftOut(String),
}

impl Case {
    /// One that cannot run with this bundle.
    pub fn left_out(name: String, why: String) -> Self {
        let state = State::LeftOut(why);
        Self {
            name,
            took: Duration::ZERO,
            state,
        }
    }

    /// One that has run.
    pub fn run(name: String, took: Duration, result: Result<()>) -> Self {
        let state = result.map_or_else(State::Failed, |()| State::Passed);
        Self { name, took, state }
    }

    pub fn has_passed(&self) -> bool {
        matches!(self.state, State::Passed)
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }
}

/// A row of the table.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, seconds) = (&self.name, self.took.as_secs_f64());
        match &self.state {
            State::Passed => write!(f, "{name:34} {seconds:>8.1}  passed"),
            State::Failed(why) => write!(f, "{name:34} {seconds:>8.1}  FAILED: {why}"),
            State::LeftOut(why) => write!(f, "{name:34} {:>8}  left out: {why}", ""),
        }
    }
}

/// The document: one test suite with a test case for each scenario.
pub fn document(cases: &[Case]) -> String {
    let count = |state: fn(&State) -> bool| cases.iter().filter(|case| state(&case.state)).count();
    let failures = count(|state| matches!(state, State::Failed(_)));
    let skipped = count(|state| matches!(state, State::LeftOut(_)));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"vm\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">\n",
        cases.len()
    );
    for Case { name, took, state } in cases {
        let (name, seconds) = (escaped(name), took.as_secs_f64());
        let inner = match state {
            State::Passed => String::new(),
            State::Failed(why) => format!("<failure message=\"{}\"/>", escaped(why)),
            State::LeftOut(why) => format!("<skipped message=\"{}\"/>", escaped(why)),
        };
        let _ = writeln!(
            text,
            "  <testcase classname=\"vm\" name=\"{name}\" time=\"{seconds:.3}\">{inner}</testcase>"
        );
    }
    text + "</testsuite>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
