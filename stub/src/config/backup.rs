//! `[backup]`: when backups are made, where they go, and how many are kept.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// The settings of scheduled backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backups {
    /// When.
    pub schedule: Schedule,
    /// How many are kept.
    pub keep: u32,
    /// Where.
    pub dir: BackupDir,
}

impl Backups {
    /// The numbers that make sense.
    pub(super) const KEEP: RangeInclusive<u32> = 1..=1000;
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            keep: 7,
            dir: BackupDir::default(),
        }
    }
}

/// A calendar event in systemd's words (systemd.time(7)): a word such as `daily`, or `Mon..Fri *-*-* 03:00`. Empty for never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Schedule(String);

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The words for whole schedules, and their seconds.
const WORDS: [(&str, u64); 8] = [
    ("hourly", HOUR),
    ("daily", DAY),
    ("weekly", 7 * DAY),
    ("monthly", 30 * DAY),
    ("quarterly", 91 * DAY),
    ("semiannually", 182 * DAY),
    ("yearly", 365 * DAY),
    ("annually", 365 * DAY),
];

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Schedule {
    /// Whether there is none.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.0.is_empty()
    }

    /// The time between two events, if the schedule is one of the words.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        let word = WORDS.iter().find(|(word, _)| *word == self.0)?;
        Some(Duration::from_secs(word.1))
    }

    /// The words, as systemd takes them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let known = text.is_empty() || WORDS.iter().any(|(word, _)| *word == text);
        if known || is_calendar(text) {
            return Ok(Self(text.to_owned()));
        }
        let words: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
        Err(Error::new(Kind::Input, format!("bad schedule `{text}`"))
            .expected(format!(
                "{}, or a calendar event such as `Mon..Fri *-*-* 03:00`",
                words.join(", ")
            ))
            .hint("`systemd-analyze calendar WORDS` explains what systemd reads"))
    }
}

/// Whether it is a calendar event: weekdays, a date and a time in this order, each of which may be missing, but not all.
fn is_calendar(text: &str) -> bool {
    let mut words = text.split(' ').peekable();
    let mut found = false;
    let parts: [&dyn Fn(&str) -> bool; 3] = [&is_weekdays, &is_date, &is_time];
    for is_part in parts {
        if words.next_if(|word| is_part(word)).is_some() {
            found = true;
        }
    }
    found && words.next().is_none_or(|zone| zone == "UTC") && words.next().is_none()
}

fn is_weekdays(word: &str) -> bool {
    let day = |day: &str| {
        let day = day.to_ascii_lowercase();
        day.len() >= 3 && WEEKDAYS.iter().any(|name| *name == day)
    };
    word.split(',')
        .all(|part| part.split("..").count() <= 2 && part.split("..").all(day))
}

fn is_date(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    match parts.as_slice() {
        [year, month, day] => {
            is_field(year, &(1970..=9999)) && is_field(month, &(1..=12)) && is_field(day, &(1..=31))
        }
        [month, day] => is_field(month, &(1..=12)) && is_field(day, &(1..=31)),
        _ => false,
    }
}

fn is_time(word: &str) -> bool {
    let parts: Vec<_> = word.split(':').collect();
    match parts.as_slice() {
        [hour, rest @ ..] if (1..=2).contains(&rest.len()) => {
            is_field(hour, &(0..=23)) && rest.iter().all(|part| is_field(part, &(0..=59)))
        }
        _ => false,
    }
}

/// A list of `*`, of numbers and of ranges of numbers, each with a step or without.
fn is_field(text: &str, range: &RangeInclusive<u32>) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits && text.parse().is_ok_and(|number| range.contains(&number))
    };
    text.split(',').all(|item| {
        let (value, step) = item.split_once('/').unwrap_or((item, "1"));
        let ends: Vec<_> = value.split("..").collect();
        let digits = step.bytes().all(|b| b.is_ascii_digit());
        let step = digits && step.parse::<u32>().is_ok_and(|step| step > 0);
        step && (value == "*" || ends.len() <= 2 && ends.into_iter().all(number))
    })
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// An absolute directory; empty for `backups` in the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BackupDir(String);

impl BackupDir {
    /// The directory, given the one for data.
    #[must_use]
    pub fn path(&self, data: &Path) -> PathBuf {
        if self.0.is_empty() {
            return data.join("backups");
        }
        PathBuf::from(&self.0)
    }

    /// Whether it is the one in the data directory.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for BackupDir {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = |c: char| c.is_control() || "\"\\".contains(c);
        if text.is_empty() || text.starts_with('/') && !text.contains(bad) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Error::new(Kind::Input, format!("bad directory for backups `{text}`"))
                .expected("an absolute path without `\"`, `\\` and control characters, or \"\""),
        )
    }
}

impl fmt::Display for BackupDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for BackupDir {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::config) fn any_backups() -> impl Strategy<Value = Backups> {
        let schedule = prop_oneof![Just(""), Just("daily"), Just("Mon..Fri *-*-* 03:00")];
        let dir = prop_oneof![Just(""), Just("/srv/back ups/ü")];
        (schedule, Backups::KEEP, dir).prop_map(|(schedule, keep, dir)| Backups {
            schedule: schedule.parse().unwrap(),
            keep,
            dir: dir.parse().unwrap(),
        })
    }

    const GOOD: [&str; 9] = [
        "daily",
        "Mon..Fri *-*-* 03:00",
        "Sat,Sun 04:30:00",
        "*-*-* 00/6:15",
        "*-*-01 03:00",
        "03:00 UTC",
        "2026..2030-1,7-* 00:00:00",
        "Mon",
        "12-24",
    ];

    #[test]
    fn only_what_systemd_reads_is_a_schedule() {
        for text in GOOD {
            text.parse::<Schedule>().unwrap();
        }
        for text in [
            " ",
            "Daily",
            "every day",
            "25:00",
            "3",
            "*-13-01",
            "03:00 Mon",
            "Moo 03:00",
            "*-*-* 03:00\nExecStart=/x",
            "03:00 Mars",
            "*/0:00",
            "1..2..3:00",
            "*-*-* 00/+6:15",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
        let error = "each night".parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains("hourly, daily, weekly"), "{error}");
    }

    /// systemd itself agrees, where it is installed.
    #[test]
    fn systemd_accepts_what_is_accepted_here() {
        for text in GOOD {
            let mut ask = std::process::Command::new("systemd-analyze");
            if let Ok(output) = ask.args(["calendar", text]).output() {
                assert!(output.status.success(), "{text}");
            }
        }
    }

    #[test]
    fn directories_are_absolute_and_can_be_written_into_the_file() {
        let own: BackupDir = "".parse().unwrap();
        assert_eq!(own.path(Path::new("/d")), Path::new("/d/backups"));
        let other: BackupDir = "/srv/b".parse().unwrap();
        assert_eq!(other.path(Path::new("/d")), Path::new("/srv/b"));
        for bad in ["b", "~/b", "/a\"b", "/a\nb", "/a\\b"] {
            assert!(bad.parse::<BackupDir>().is_err(), "{bad}");
        }
    }
}
