//! A certificate from the future: is the clock behind now, or was it ahead when the certificate was made?

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::certificate::rfc3339;
use crate::error::Error;

/// Directories that every machine changes now and then, whoever sets up a cluster on it.
const CHANGING: [&str; 5] = ["/etc", "/usr", "/var/lib", "/var/log", "/var/tmp"];

/// A clock that was set by hand may be so many seconds off.
const SLACK: i64 = 3600;

/// Something on this machine that has a time of its own.
pub(super) struct Witness {
    path: PathBuf,
    changed: i64,
}

impl Witness {
    /// Whichever of the machine's directories was changed last.
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

/// Adds what else is known of the time, and what to do: both possibilities, the likelier one first. `anew` is the next step
/// if it is the certificate that is wrong.
pub(super) fn explain(error: Error, now: i64, witness: Option<&Witness>, anew: &str) -> Error {
    const SET: &str =
        "set it, for example with `sudo timedatectl set-ntp true`, and run the same command again";
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
            "this machine's clock is probably behind, because `{}` is from the future as well: {SET}; if the clock (`date`) is right all the same, {anew}",
            path.display()
        )
    } else {
        format!(
            "nothing else points to a wrong clock, so the clock was probably ahead when the certificate was made: if it (`date`) is right, {anew}; if it is wrong, {SET}"
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
        explain(error, 1_800_000_000, witness.as_ref(), "make it anew").to_string()
    }

    #[test]
    fn the_likelier_possibility_comes_first_and_the_other_is_not_kept_back() {
        insta::assert_snapshot!(told(Some(1_800_100_000)), @"
        not valid yet
          last change  2027-01-16T11:46:40Z, of `/var/log`

        hint: this machine's clock is probably behind, because `/var/log` is from the future as well: set it, for example with `sudo timedatectl set-ntp true`, and run the same command again; if the clock (`date`) is right all the same, make it anew
        ");
        insta::assert_snapshot!(told(Some(1_799_999_000)), @"
        not valid yet
          last change  2027-01-15T07:43:20Z, of `/var/log`

        hint: nothing else points to a wrong clock, so the clock was probably ahead when the certificate was made: if it (`date`) is right, make it anew; if it is wrong, set it, for example with `sudo timedatectl set-ntp true`, and run the same command again
        ");
        let unknown = told(None);
        assert!(
            unknown.contains("clock (`date`) is wrong") && unknown.ends_with("make it anew"),
            "{unknown}"
        );
    }

    #[test]
    fn a_machine_has_something_with_a_time() {
        assert!(Witness::of_machine().is_some_and(|w| w.changed > 0));
    }
}
