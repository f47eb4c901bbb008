//! What an API server answers. Each answer is also read as a line of a watch, and as a cluster's description of itself.

use std::time::{Duration, UNIX_EPOCH};

use stub::api::fuzz::{answer, news};
use stub::join::fuzz::{compare, describes};

pub(crate) fn check(input: &[u8]) {
    let now = UNIX_EPOCH + Duration::from_hours(499_656);
    match answer(input) {
        Ok(answer) => {
            // RFC 9110, section 15: three digits, the first of which is 1 to 5; others exist.
            assert!((100..=999).contains(&answer.status), "{}", answer.status);
            assert!(answer.body.len() + answer.date.len() <= 3 * input.len());
            assert!(!answer.date.contains('\n'));
            let _ = describes(&answer);
            drop(compare(&answer.date, now));
        }
        Err(error) => assert!(error.to_string().len() <= 2000, "{error}"),
    }
    if let Ok(line) = str::from_utf8(input) {
        drop(news(line));
        drop(compare(line, now));
    }
}
