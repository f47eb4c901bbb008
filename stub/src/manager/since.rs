//! A moment that a person names: so long ago, or a date.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};

/// The moment from which on lines of a log are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since(SystemTime);

/// The ways to name a moment.
const FORMS: &str = "a time ago, such as 90s, 10m, 2h or 3d, or a moment in UTC, such as 2026-11-27 or 2026-11-27T02:30:00Z";

impl Since {
    /// The moment.
    #[must_use]
    pub fn time(self) -> SystemTime {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    }

    fn parse(text: &str, now: SystemTime) -> Option<Self> {
        if let Some(ago) = ago(text) {
            return now.checked_sub(ago).map(Self);
        }
        let seconds = moment(text)?;
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .map(Self)
    }
}

impl FromStr for Since {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text, SystemTime::now())
            .ok_or_else(|| Error::new(Kind::Usage, format!("bad time `{text}`")).expected(FORMS))
    }
}

/// A number with a unit of time.
fn ago(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(unit)?))
}

/// Seconds since 1970 of a date, or of a date and a time in UTC. A space may be in place of the `T`, the seconds and the `Z`
/// may be missing.
fn moment(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, by: char| -> Option<Vec<u64>> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let parts = text.split(by);
        parts.map(|p| digits(p).then(|| p.parse().ok())?).collect()
    };
    let [year, month, day] = <[u64; 3]>::try_from(numbers(date, '-')?).ok()?;
    let mut time = numbers(time, ':')?;
    if time.len() == 2 {
        time.push(0);
    }
    let [hour, minute, second] = <[u64; 3]>::try_from(time).ok()?;
    if !(1970..10_000).contains(&year) {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let valid = (1..=*months.get(index)?).contains(&day) && hour < 24 && minute < 60 && second < 60;
    // The leap days of all years before this one, without those before 1970.
    let before = year - 1;
    let leap_days = (before / 4 - before / 100 + before / 400) - 477;
    let days = (year - 1970) * 365 + leap_days + months.iter().take(index).sum::<u64>() + day - 1;
    valid.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_times_ago_are_read() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let seconds = |text: &str| Since::parse(text, now).map(Since::seconds);
        for (text, expected) in [
            ("90s", 999_999_910),
            ("10m", 999_999_400),
            ("2h", 999_992_800),
            ("3d", 999_740_800),
            ("1970-01-01", 0),
            ("2024-02-29", 1_709_164_800),
            ("2026-11-27T02:30:00Z", 1_795_746_600),
            ("2026-11-27 02:30", 1_795_746_600),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "10",
            "m",
            "-5m",
            "tomorrow",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-01-01T24:00",
            "2026-01-01T10",
            "+2026-01-01",
            "99999999999999999999d",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        let error = "yesterday".parse::<Since>().unwrap_err().to_string();
        assert!(error.contains("such as 90s, 10m"), "{error}");
    }
}
