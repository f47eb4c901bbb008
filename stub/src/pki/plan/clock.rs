//! Explains a certificate that is not valid yet: either the clock is behind now, or it was ahead when the certificate was
//! made.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::certificate::rfc3339;
use crate::error::Error;

/// Directories that change from time to time on every machine, with or without a cluster.
const CHANGING: [&str; 5] = ["/etc", "/usr", "/var/lib", "/var/log", "/var/tmp"];

/// A clock that was set by hand may be this many seconds off.
const SLACK: i64 = 3600;

/// A directory of this machine and the time when it was last changed.
pub(super) struct Witness {
    path: PathBuf,
    changed: i64,
}

impl Witness {
    /// The directory that was changed last.
    pub(super) fn of_machine() -> Option<Self> {
        let witness = |path: &str| {
            let changed = fs_err::metadata(path).ok()?.mtime();
            let path = Path::new(path).to_owned();
            Some(Self { path, changed })
        };
        CHANGING
            .into_iter()
            .filter_map(witness)
            .max_by_key(|w| w.changed)
    }
}

/// Adds to an error the time of the last change on this machine, and a hint for each of both cases, the likelier one first.
/// `anew` is the next step if the clock is right and the certificate is wrong.
pub(super) fn explain(error: Error, now: i64, witness: Option<&Witness>, anew: &str) -> Error {
    const SET: &str = "set the clock, for example with `sudo timedatectl set-ntp true`, and run the same command again";
    let Some(witness) = witness else {
        return error.hint(format!(
            "if this machine's clock (`date`) is wrong, {SET}; if it is right, {anew}"
        ));
    };
    let Witness { path, changed } = witness;
    let error = error.detail(
        "last change",
        format!("{}, of `{}`", rfc3339(*changed), path.display()),
    );
    error.hint(if *changed > now + SLACK {
        format!(
            "this machine's clock is probably behind, because `{}` is also dated later than now: {SET}; if the clock (`date`) is right nevertheless, {anew}",
            path.display()
        )
    } else {
        format!(
            "nothing else is dated later than now, so the clock was probably ahead when the certificate was made: if the clock (`date`) is right now, {anew}; if it is wrong, {SET}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn told(changed: Option<i64>) -> String {
        let witness = changed.map(|changed| Witness {
            path: "/var/log".into(),
            changed,
        });
        let error = Error::new(Kind::Input, "not valid yet");
        explain(error, 1_800_000_000, witness.as_ref(), "make a new one").to_string()
    }

    #[test]
    fn the_hint_names_both_cases_and_the_likelier_one_first() {
        insta::assert_snapshot!(told(Some(1_800_100_000)), @"
        not valid yet
          last change  2027-01-16T11:46:40Z, of `/var/log`

        hint: this machine's clock is probably behind, because `/var/log` is also dated later than now: set the clock, for example with `sudo timedatectl set-ntp true`, and run the same command again; if the clock (`date`) is right nevertheless, make a new one
        ");
        insta::assert_snapshot!(told(Some(1_799_999_000)), @"
        not valid yet
          last change  2027-01-15T07:43:20Z, of `/var/log`

        hint: nothing else is dated later than now, so the clock was probably ahead when the certificate was made: if the clock (`date`) is right now, make a new one; if it is wrong, set the clock, for example with `sudo timedatectl set-ntp true`, and run the same command again
        ");
        let unknown = told(None);
        assert!(
            unknown.contains("clock (`date`) is wrong") && unknown.ends_with("make a new one"),
            "{unknown}"
        );
    }

    #[test]
    fn every_machine_has_a_directory_with_a_time() {
        assert!(Witness::of_machine().is_some_and(|w| w.changed > 0));
    }
}
