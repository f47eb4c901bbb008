//! The trials of a verb.

use std::thread;
use std::time::Duration;

use crate::arena::Arena;
use crate::calls::{Fault, Point};
use crate::judge::{self, Happened, Removal, judge};
use crate::report::{Failure, Row};
use crate::verbs::Verb;

/// What is to be tried.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Whether calls are disturbed.
    pub calls: bool,
    /// Only every so many calls.
    pub every: usize,
    /// Whether each call meets all errors, or they take turns.
    pub all_errors: bool,
    /// Only this call.
    pub at: Option<Point>,
    /// Only this fault.
    pub fault: Option<Fault>,
    /// How often the verb is killed at a random instant.
    pub random: u64,
    /// How often it is started twice at once.
    pub twice: u64,
    /// Whether it is tried on a read-only file system.
    pub read_only: bool,
    /// The first random number.
    pub seed: u64,
}

/// Tries a verb.
pub fn try_verb(verb: &Verb, plan: &Plan) -> Row {
    let arena = Arena::new(verb);
    let mut row = Row::new(verb.name);
    if plan.calls {
        at_calls(&arena, plan, &mut row);
    }
    for number in 0..plan.random {
        let seed = plan.seed.wrapping_add(number);
        row.random += 1;
        let instant = portion(seed, arena.time.mul_f64(1.05));
        let failure = killed_at(&arena, instant);
        row.add(failure, format!("killed after {instant:?}"), || {
            format!("{} --no-calls --random 1 --seed {seed}", verb.name)
        });
    }
    let times = if verb.alone { 0 } else { plan.twice };
    for number in 0..times {
        let seed = plan.seed.wrapping_add(number);
        row.twice += 1;
        let delay = portion(seed, arena.time);
        let failure = twice(&arena, delay);
        row.add(failure, format!("twice, {delay:?} apart"), || {
            format!("{} --no-calls --twice 1 --seed {seed}", verb.name)
        });
    }
    if plan.read_only {
        arena.reset();
        if let Some(ended) = arena.read_only() {
            row.read_only += 1;
            let failure = judge::of_read_only(&arena, &ended);
            row.add(failure, "on a read-only file system".to_owned(), || {
                format!("{} --no-calls --read-only", verb.name)
            });
        }
    }
    row
}

fn at_calls(arena: &Arena<'_>, plan: &Plan, row: &mut Row) {
    let calls = arena.calls();
    row.calls = calls.len();
    let chosen: Vec<_> = match &plan.at {
        Some(point) => vec![point.clone()],
        None => calls.into_iter().step_by(plan.every.max(1)).collect(),
    };
    for (number, point) in chosen.iter().enumerate() {
        let turn = Fault::ERRORS[number % Fault::ERRORS.len()];
        let mut faults = vec![Fault::Kill];
        match plan.fault {
            Some(fault) => faults = vec![fault],
            None if plan.all_errors || plan.at.is_some() => faults.extend(Fault::ERRORS),
            None => faults.push(turn),
        }
        for fault in faults {
            arena.reset();
            let (ended, Some(line)) = arena.disturbed(point, fault) else {
                // The order of calls is not always the same.
                row.missed += 1;
                continue;
            };
            let happened = if fault == Fault::Kill {
                row.kills += 1;
                Happened::Killed
            } else {
                row.errors += 1;
                Happened::Failed(fault, Removal(point.removes()))
            };
            let failure = judge(arena, &ended, happened);
            row.add(failure, format!("{} at {line}", fault.name()), || {
                format!("{} --at {point} --fault {}", arena.verb.name, fault.name())
            });
        }
    }
}

fn killed_at(arena: &Arena<'_>, instant: Duration) -> Option<String> {
    arena.reset();
    let running = arena.start(0);
    thread::sleep(instant);
    running.kill();
    let ended = arena.wait(running);
    judge(arena, &ended, Happened::Killed)
}

fn twice(arena: &Arena<'_>, delay: Duration) -> Option<String> {
    arena.reset();
    let first = arena.start(0);
    thread::sleep(delay);
    let second = arena.start(1);
    let ended = [first, second].map(|running| arena.wait(running));
    judge::of_two(arena, &ended)
}

/// A random part of a time. The same number gives the same part (the generator `SplitMix64`).
fn portion(seed: u64, whole: Duration) -> Duration {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let z = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default();
    whole.mul_f64(f64::from(z) / f64::from(u32::MAX))
}

impl Row {
    /// Adds the failure of a trial, if it is one, with the words that repeat it.
    fn add(&mut self, problem: Option<String>, what: String, again: impl FnOnce() -> String) {
        if let Some(problem) = problem {
            self.failures.push(Failure {
                what,
                problem,
                again: format!("cargo run --release -p faults -- {}", again()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_instants_lie_everywhere_in_the_time_and_are_the_same_for_a_number() {
        let whole = Duration::from_secs(1);
        let instants: Vec<_> = (0..100).map(|seed| portion(seed, whole)).collect();
        assert!(instants.iter().all(|instant| *instant <= whole));
        for tenth in 0..10 {
            let begin = whole * tenth / 10;
            let end = whole * (tenth + 1) / 10;
            assert!(instants.iter().any(|i| (begin..end).contains(i)), "{tenth}");
        }
        assert_eq!(portion(7, whole), instants[7]);
    }
}
