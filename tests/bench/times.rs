//! Times, in seconds.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use stub::child;
use stub::error::Result;

/// The times of something that was done several times, in seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Times {
    /// Half of them are shorter. It says more than the mean, because a machine that does something else only makes times longer.
    pub(crate) median_seconds: f64,
    /// All of them, in their order.
    pub(crate) samples_seconds: Vec<f64>,
}

impl Times {
    pub(crate) fn of(samples_seconds: Vec<f64>) -> Self {
        Self {
            median_seconds: median(&samples_seconds),
            samples_seconds,
        }
    }
}

/// The one in the middle, or the mean of the two in the middle. Not a number if there is none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// Runs a program to its end, and gives the seconds that this took. It reads nothing, and its output goes nowhere. Ending with
/// another exit code than 0 is an error.
pub(crate) fn seconds(command: &mut Command) -> Result<f64> {
    seconds_until(command, &[0])
}

/// The same for a program that may end with other exit codes, too.
pub(crate) fn seconds_until(command: &mut Command, codes: &[i32]) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let ended = child::run(command)?;
    let seconds = started.elapsed().as_secs_f64();
    match ended.status.code() {
        Some(code) if codes.contains(&code) => Ok(seconds),
        _ => Err(ended.error()),
    }
}

/// Seconds for people: milliseconds if there are few.
pub(crate) fn shown(seconds: f64) -> String {
    if seconds.abs() < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the same values come out that went in")]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), 3.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
        let times = Times::of(vec![2.0, 1.0]);
        assert_eq!(times.median_seconds, 1.5);
        assert_eq!(times.samples_seconds, [2.0, 1.0]);
    }

    #[test]
    fn a_time_is_that_of_a_program_that_ended_as_expected() {
        let exit = |code: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 0.05; echo text; exit $0", code]);
            command
        };
        assert!(seconds(&mut exit("0")).unwrap() >= 0.05);
        assert!(seconds(&mut exit("1")).is_err());
        assert!(seconds_until(&mut exit("1"), &[0, 1]).unwrap() >= 0.05);
    }

    #[test]
    fn times_for_people() {
        let texts = [0.000_42, 0.0312, -0.0002, 1.0, 123.456].map(shown);
        assert_eq!(
            texts,
            ["0.4 ms", "31.2 ms", "-0.2 ms", "1.00 s", "123.46 s"]
        );
    }
}
