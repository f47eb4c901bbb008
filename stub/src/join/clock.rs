//! Whether this machine's clock agrees with the cluster's. With a wrong clock, certificates seem not to be valid yet, or to have
//! expired.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::error::{Error, Kind, Result};

/// The cluster issues certificates that are valid five minutes before that (Kubernetes, `pkg/controller/certificates/authority`).
const SLACK: Duration = Duration::from_mins(5);

/// Fails if the clocks differ too much. `date` is the cluster's time, in the form of HTTP; an unreadable one is not compared.
pub(super) fn check(date: &str) -> Result<()> {
    compare(date, SystemTime::now())
}

pub(super) fn compare(date: &str, now: SystemTime) -> Result<()> {
    let Some(theirs) = parse(date) else {
        return Ok(());
    };
    let (difference, how) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    if difference < SLACK {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        format!(
            "this machine's clock is {} minutes {how} the cluster's",
            // The cluster's time was read a moment ago, so a clock that is an hour behind seems to be a second less behind.
            (difference.as_secs() + 30) / 60
        ),
    )
    .expected(date)
    .found(crate::pki::rfc3339(now))
    .hint("set both clocks, for example with `sudo timedatectl set-ntp true`, then run the same command again"))
}

/// A time such as `Fri, 27 Nov 2026 02:44:00 GMT` (RFC 9110, section 5.6.7), not before 1970.
fn parse(date: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    let is_http = date.ends_with(" GMT") && time.unix_timestamp() >= 0;
    is_http.then(|| time.into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DATE: &str = "Fri, 01 Jan 2027 00:00:00 GMT";
    const NOW: u64 = 1_798_761_600;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn times_of_http_are_read() {
        assert_eq!(parse(DATE), Some(at(NOW)));
        let leap = parse("Sun, 01 Mar 2026 12:30:05 GMT");
        assert_eq!(leap, Some(at(1_772_368_205)));
        let after = parse("Fri, 01 Mar 2024 00:00:00 GMT");
        assert_eq!(after, Some(at(1_709_251_200)));
        for bad in [
            "",
            "now",
            "Fri, 01 Foo 2027 00:00:00 GMT",
            "Fri, 0 Jan 2027 00:00:00 GMT",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
            compare(bad, at(NOW)).unwrap();
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_named() {
        compare(DATE, at(NOW + 200)).unwrap();
        compare(DATE, at(NOW - 200)).unwrap();
        let ahead = compare(DATE, at(NOW + 3600)).unwrap_err();
        assert_eq!(
            ahead.message(),
            "this machine's clock is 60 minutes ahead of the cluster's"
        );
        // The answer took a second, and `Date` has no fractions.
        for late in [3598, 3601] {
            let behind = compare(DATE, at(NOW - late)).unwrap_err();
            assert_eq!(
                behind.message(),
                "this machine's clock is 60 minutes behind the cluster's"
            );
        }
        insta::assert_snapshot!(compare(DATE, at(NOW - 840)).unwrap_err(), @r"
        this machine's clock is 14 minutes behind the cluster's
          expected  Fri, 01 Jan 2027 00:00:00 GMT
          found     2026-12-31T23:46:00Z

        hint: set both clocks, for example with `sudo timedatectl set-ntp true`, then run the same command again
        ");
    }
}
