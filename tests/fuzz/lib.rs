//! What must hold for every input of a parser of foreign bytes.
//!
//! Each [target](TARGETS) is a function that ends with a panic if its input shows a fault. `libfuzzer.rs` calls it with inputs
//! that a fuzzer makes, and `corpora.rs` with those in the directory `corpus`, as a part of all tests.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a fault ends the program: that is what it is for"
)]

mod targets;

use std::time::{Duration, Instant};

/// A function that reads an input.
pub type Check = fn(&[u8]);

/// All targets, by their names.
pub const TARGETS: [(&str, Check); 21] = [
    ("api", targets::api::check),
    ("archive", targets::archive::check),
    ("backup", targets::backup::check),
    ("bundle", targets::bundle::check),
    ("certificates", targets::certificates::check),
    ("checksums", targets::published::checksums),
    ("config", targets::config::check),
    ("github", targets::upstreams::github),
    ("image", targets::published::image),
    ("images", targets::images::check),
    ("kubeconfig", targets::kubeconfig::check),
    ("lockfile", targets::ours::lockfile),
    ("machine", targets::machine::check),
    ("manifest", targets::ours::manifest),
    ("packages", targets::published::packages),
    ("programs", targets::programs::check),
    ("recipe", targets::ours::recipe),
    ("registry", targets::upstreams::registry),
    ("signature", targets::signature::check),
    ("systemd", targets::programs::systemd),
    ("token", targets::ours::token),
];

/// The longest input, in bytes.
pub const LONGEST: usize = 64 << 10;
/// No input of that length needs more of a processor than this, even without optimisation.
const PATIENCE: Duration = Duration::from_secs(8);

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Check> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, check)| *check)
}

/// Gives an input to a target. Panics if it shows a fault, or needs too much time.
pub fn run(check: Check, input: &[u8]) {
    let began = Instant::now();
    check(input);
    if began.elapsed() > PATIENCE && input.len() <= LONGEST {
        // Other programs may have had the processor.
        let before = processor_time();
        check(input);
        let needed = processor_time().saturating_sub(before);
        assert!(needed <= PATIENCE, "{} bytes need {needed:?}", input.len());
    }
}

/// How long this thread has had a processor (Linux, `Documentation/scheduler/sched-stats.rst`).
fn processor_time() -> Duration {
    let text = fs_err::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
