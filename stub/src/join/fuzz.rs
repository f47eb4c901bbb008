//! Opens the readers of what a cluster tells a machine that joins to `tests/fuzz`. Only with the feature `fuzz`.

use std::time::SystemTime;

use super::{ask, clock};
use crate::api::Answer;
use crate::error::Result;

/// Whether an answer describes a cluster.
#[must_use]
pub fn describes(answer: &Answer) -> bool {
    ask::Found::read(answer).is_ok()
}

/// Compares a time, in the form of HTTP, with that of this machine.
pub fn compare(date: &str, now: SystemTime) -> Result<()> {
    clock::compare(date, now)
}
