//! Dates as servers write them, and as people read them.

use std::time::SystemTime;

use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{OffsetDateTime, UtcOffset};

/// Reads a date of mail and HTTP (RFC 2822), such as `Fri, 06 Nov 2026 08:08:01 GMT`.
pub(crate) fn mail(text: &str) -> Option<SystemTime> {
    // Debian's archives write `UTC`, a name that the RFC does not have.
    let text = text.replace("UTC", "GMT");
    instant(OffsetDateTime::parse(&text, &Rfc2822).ok()?)
}

/// Reads a date of an interface (RFC 3339), such as `2026-11-06T08:08:01Z`.
pub(crate) fn rfc3339(text: &str) -> Option<SystemTime> {
    instant(OffsetDateTime::parse(text, &Rfc3339).ok()?)
}

/// For people: `2026-11-06 08:08 UTC`.
pub(crate) fn shown(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    // A server can name any number of seconds.
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return "after the year 9999".to_owned();
    };
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

/// The same time without its offset, unless it is after the year 9999 in UTC.
fn instant(time: OffsetDateTime) -> Option<SystemTime> {
    time.checked_to_offset(UtcOffset::UTC).map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            "Fri, x Nov 2026 08:08:01 UTC",
            "Sat, 30 Feb 2026 08:08:01 UTC",
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
            rfc3339("2024-03-01T01:59:59+02:00"),
            mail("Thu, 29 Feb 2024 23:59:59 GMT")
        );
        assert_eq!(
            rfc3339("2024-02-29T23:59:59.123Z").map(shown).unwrap(),
            "2024-02-29 23:59 UTC"
        );
        for bad in [
            "",
            "2026-11-06",
            "2026-11-06T08:08:01",
            "2026-13-06T08:08:01Z",
            "2026-00-06T08:08:01Z",
            "9999-12-31T23:59:59-01:00",
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
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 62);
        assert_eq!(shown(late), "after the year 9999");
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
