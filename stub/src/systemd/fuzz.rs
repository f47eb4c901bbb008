//! Opens the readers of systemd's answers to `tests/fuzz`. Only with the feature `fuzz`.

use std::ffi::OsString;

use super::{Unit, quoting};

/// The units in an answer of `systemctl show`.
#[must_use]
pub fn units(answer: &str) -> Vec<Unit> {
    super::parse(answer)
}

/// The words of a list in such an answer.
#[must_use]
pub fn words(list: &str) -> Vec<OsString> {
    quoting::words(list)
}
