//! The errors for files that could not be fetched.

use stub::digest::Digest;
use stub::error::{Error, Kind};

use crate::cache::Cache;
use crate::http::Failure;

/// The reasons why none of a file's sources gave it. Shown only if none did.
#[derive(Default)]
pub(super) struct Failures {
    details: Vec<(&'static str, String)>,
    /// Whether one gave other bytes than the pinned ones.
    pub wrong: bool,
    /// Whether one could not be reached.
    pub unreachable: bool,
}

impl Failures {
    pub(super) fn add(&mut self, place: String, failure: Failure) {
        self.details.push(("url", place));
        let reason = match failure {
            Failure::Wrong { expected, found } => {
                self.wrong = true;
                self.details.push(("expected", expected));
                self.details.push(("found", found));
                return;
            }
            Failure::Unreachable { reason, .. } => {
                self.unreachable = true;
                reason
            }
            Failure::Passing { reason, .. } | Failure::Final(reason) => reason,
            Failure::Local(error) => error.message().to_owned(),
        };
        self.details.push(("reason", reason));
    }

    /// The error for a file, named by component and version.
    pub(super) fn error(self, what: &str) -> Error {
        let error = if self.wrong {
            let name = what.split(' ').next().unwrap_or(what);
            Error::new(
                Kind::Integrity,
                format!("{what}: the download does not match lockfile.json"),
            )
            .hint(format!(
                "if upstream has replaced the files of this version on purpose, run `builder lock --update {name}` \
                 and review the diff; otherwise something on the way changes the files: try `--mirror DIR|URL`"
            ))
        } else {
            Error::new(Kind::Network, format!("{what}: cannot be fetched")).hint(
                "check the network and the proxy settings, or name a place that has the files with \
                 `--mirror DIR|URL`; once they are all in the cache, `--offline` needs no network",
            )
        };
        let details = self.details.into_iter();
        details.fold(error, |error, (label, text)| error.detail(label, text))
    }
}

/// The error for several: that of the first, preferably of one with wrong bytes, and the messages of the others.
pub(super) fn of_failures(mut failures: Vec<Error>) -> Option<Error> {
    if failures.is_empty() {
        return None;
    }
    let wrong = failures.iter().position(|e| e.kind() == Kind::Integrity);
    let first = failures.remove(wrong.unwrap_or(0));
    let others = failures.iter();
    Some(others.fold(first, |first, other| first.detail("also", other.message())))
}

/// The error for files that are not in the cache when nothing may be fetched. A file that was there and was damaged is told
/// apart from one that was never fetched.
pub(super) fn of_missing(missing: &[(String, Digest)], cache: &Cache) -> Error {
    let damaged = |digest: &Digest| cache.damaged(digest);
    let error = if missing.iter().any(|(_, digest)| damaged(digest).is_some()) {
        Error::new(
            Kind::Integrity,
            "files in the cache were damaged and have been removed, and `--offline` forbids fetching them again",
        )
        .hint(
            "run the same command without `--offline`, or fetch them on a machine with a network: `builder fetch`, then \
             `builder mirror export DIR`, copy DIR to this machine, and add `--mirror DIR`",
        )
    } else {
        Error::new(
            Kind::Network,
            "these files are not in the cache, and `--offline` forbids fetching them",
        )
    }
    .hint(
        "run `builder fetch` and `builder mirror export DIR` on a machine with a network, copy DIR to this machine, and add \
         `--mirror DIR`",
    );
    let missing = missing.iter();
    missing.fold(error, |error, (what, digest)| match damaged(digest) {
        Some(found) => error
            .detail(
                what,
                format!("{} was damaged", cache.path(digest).display()),
            )
            .expected(digest)
            .found(found),
        None => error.detail(what, digest),
    })
}
