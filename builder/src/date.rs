//! Dates as servers write them, and as people read them.

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The result of [`days`] for 1 January 1970.
const EPOCH: u64 = 719_469;

/// Reads a date of mail and HTTP, such as `Fri, 06 Nov 2026 08:08:01 GMT`.
pub(crate) fn mail(text: &str) -> Option<SystemTime> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().zip(1_u64..).find(|(m, _)| **m == month)?.1;
    instant(number(year, 9999)?, month, number(day, 31)?, time)
}

/// Reads a date such as `2026-11-06T08:08:01Z` (RFC 3339, UTC only; fractions of a second are dropped).
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 9999)?;
    let month = number(parts.next()?, 12)?;
    let day = number(parts.next()?, 31)?;
    let whole = time.split_once('.').map_or(time, |(whole, _)| whole);
    instant(year, month, day, whole)
}

/// For people: `2026-11-06 08:08 UTC`.
pub(crate) fn shown(at: SystemTime) -> String {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (mut day, clock) = (seconds / 86400 + EPOCH, seconds % 86400);
    // From the year counted from March back to the calendar: search, which is short and obviously right.
    let mut year = day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rfind(|m| days(year, *m, 1) <= day).unwrap_or(1);
    day -= days(year, month, 1) - 1;
    let (hours, minutes) = (clock / 3600, clock / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02} UTC")
}

fn number(text: &str, most: u64) -> Option<u64> {
    text.parse().ok().filter(|n| *n <= most)
}

fn instant(year: u64, month: u64, day: u64, time: &str) -> Option<SystemTime> {
    let clock: Vec<&str> = time.split(':').collect();
    let [hours, minutes, seconds] = clock[..] else {
        return None;
    };
    let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60 + number(seconds, 60)?;
    if year < 1970 || month == 0 {
        return None;
    }
    let days = days(year, month, day).checked_sub(EPOCH)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days * 86400 + seconds))
}

/// Days since a day long ago. Months count from 1.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years counted from March, so that the leap day is a year's last.
    let (shifted, march_month) = if month < 3 {
        (year.saturating_sub(1), month + 9)
    } else {
        (year, month - 3)
    };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400;
    days + (march_month * 153 + 2) / 5 + day
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(date: Option<SystemTime>) -> Option<u64> {
        let since = date?.duration_since(SystemTime::UNIX_EPOCH);
        Some(since.unwrap().as_secs())
    }

    #[test]
    fn dates_of_mail_and_http() {
        let seconds = |text| seconds(mail(text));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(
            seconds("Thu, 29 Feb 2024 23:59:59 UTC"),
            Some(1_709_251_199)
        );
        assert_eq!(seconds("Fri, 1 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        assert_eq!(
            seconds("Fri, 06 Nov 2026 08:08:01 +0000"),
            Some(1_793_952_481)
        );
        for bad in [
            "",
            "Fri, 06 Nov 2026 08:08:01",
            "Fri, 06 Nov 2026 08:08 UTC",
            "Fri, 06 Nov 1926 08:08:01 UTC",
            "Fri, x Nov 2026 08:08:01 UTC",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_of_interfaces() {
        assert_eq!(
            rfc3339("2026-11-06T08:08:01Z"),
            mail("Fri, 06 Nov 2026 08:08:01 GMT")
        );
        assert_eq!(
            rfc3339("2024-02-29T23:59:59.123Z"),
            mail("Thu, 29 Feb 2024 23:59:59 GMT")
        );
        for bad in [
            "",
            "2026-11-06",
            "2026-11-06T08:08:01",
            "2026-13-06T08:08:01Z",
            "2026-00-06T08:08:01Z",
        ] {
            assert_eq!(rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_for_people() {
        for date in [
            "1970-01-01T00:00:00Z",
            "1999-12-31T23:59:00Z",
            "2000-02-29T12:00:00Z",
            "2026-11-06T08:08:00Z",
            "2100-03-01T00:00:00Z",
        ] {
            let shown = shown(rfc3339(date).unwrap());
            assert_eq!(shown.replacen(' ', "T", 1).replace(" UTC", ":00Z"), date);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_instant_is_shown_as_it_is_read(minutes in 0_u64..100_000_000) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_mins(minutes);
            let text = shown(at).replacen(' ', "T", 1).replace(" UTC", ":00Z");
            proptest::prop_assert_eq!(rfc3339(&text), Some(at));
        }
    }
}
