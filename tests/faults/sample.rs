//! A small sample of the trials, with all other tests. `cargo run --release -p faults` makes all of them.

use faults::program;
use faults::report::Report;
use faults::trials::{Plan, try_verb};
use faults::verbs::VERBS;
use stub::output;

#[test]
fn two_verbs_survive_a_sample_of_faults() {
    if !program::has_strace() {
        // The test harness would hide the output of `eprintln!`.
        output::message("not tested: there is no `strace` here");
        return;
    }
    // Cargo compiles it for the tests of its own crate, and so with all tests.
    if support::home::compiled().is_none() {
        program::build().unwrap();
    }
    let plan = Plan {
        calls: true,
        every: 127,
        twice: 1,
        read_only: true,
        ..Plan::default()
    };
    let verbs = VERBS
        .iter()
        .filter(|v| ["install", "merge"].contains(&v.name));
    faults::arena::stay_on_core(0);
    let report = Report::new(verbs.map(|verb| try_verb(verb, &plan)).collect());
    assert!(report.is_clean(), "{}", report.text());
}
