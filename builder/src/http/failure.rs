//! Why a request fails, and whether trying again may help.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::header::RETRY_AFTER;
use stub::error::{Error, Kind};

use super::refusal;

/// How often a URL is requested in all when the failure may be temporary.
const TRIES: u32 = 4;
/// How often when no server answers: waiting longer rarely helps, and a user without a network should learn it soon.
const TRIES_TO_CONNECT: u32 = 2;
const WAIT_TO_CONNECT: Duration = Duration::from_millis(250);
/// A server that asks to be left alone for longer is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Why a request failed, which decides the next step.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The host's name is unknown, or the host does not answer.
    Unreachable {
        /// `host`, or `host:port` if the port is not the usual one.
        host: String,
        reason: String,
        /// Whether the failure came at once, so that trying again costs nothing.
        quick: bool,
    },
    /// It may go better next time, after `wait` if the server has named it.
    Passing {
        reason: String,
        wait: Option<Duration>,
    },
    /// Trying this URL again is useless.
    Final(String),
    /// The bytes are not those that were pinned.
    Wrong { expected: String, found: String },
    /// The cause is not the server: a request to any other server would fail in the same way.
    Local(Error),
}

impl Failure {
    /// How often such a request is sent in all, and how long to wait after so many tries.
    pub(super) fn next_try(&self, tries: u32) -> (u32, Duration) {
        match self {
            Self::Unreachable { quick: true, .. } => (TRIES_TO_CONNECT, WAIT_TO_CONNECT),
            Self::Passing { wait, .. } => {
                let wait = wait.unwrap_or_else(|| back_off(tries));
                (TRIES, wait.min(LONGEST_WAIT))
            }
            _ => (1, Duration::ZERO),
        }
    }

    /// Notes how often it was tried.
    pub(super) fn after(mut self, tries: u32) -> Self {
        if let Self::Passing { reason, .. } = &mut self {
            *reason = format!("{reason} ({tries} tries)");
        }
        self
    }

    /// Puts the purpose of the request in front of the reason.
    pub(crate) fn about(mut self, what: &str) -> Self {
        if let Self::Unreachable { reason, .. }
        | Self::Passing { reason, .. }
        | Self::Final(reason) = &mut self
        {
            *reason = format!("{what}: {reason}");
        }
        self
    }

    /// The next try can begin at once, because it will ask for something else.
    pub(crate) fn anew(reason: String) -> Self {
        Self::Passing {
            reason,
            wait: Some(Duration::ZERO),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Local(error.into())
    }
}

/// The error for a request that failed.
pub(crate) fn explained(url: &str, failure: Failure) -> Error {
    match failure {
        Failure::Local(error) => error,
        Failure::Unreachable { reason, .. }
        | Failure::Passing { reason, .. }
        | Failure::Final(reason) => failed(url, reason),
        Failure::Wrong { expected, found } => {
            failed(url, "wrong bytes").expected(expected).found(found)
        }
    }
}

pub(crate) fn failed(url: &str, reason: impl fmt::Display) -> Error {
    Error::new(Kind::Network, format!("{url}: cannot be fetched"))
        .detail("reason", reason)
        .hint("check the network, the proxy settings in the environment, and the address")
}

/// A status code with its name: `404 Not Found`.
pub(crate) fn status_text(status: u16) -> String {
    reqwest::StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |s| s.to_string())
}

/// The status of an answer in words, with the server's explanation from the body, which is read for this.
pub(crate) fn refused(answer: Response) -> String {
    let status = answer.status().to_string();
    refusal::explained(&status, &refusal::read(answer))
}

/// Finds the answers that may be different the next time.
pub(super) fn passing(answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
    if !(status.is_server_error() || matches!(status.as_u16(), 408 | 429)) {
        return Ok(answer);
    }
    // The form with a date is rare, and wants the clocks to agree.
    let seconds = answer.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|v| v.to_str().ok()?.trim().parse().ok());
    Err(Failure::Passing {
        reason: refused(answer),
        wait: seconds.map(Duration::from_secs),
    })
}

/// `2^(tries-1)` seconds and up to a quarter more, so that many clients do not come back in step.
fn back_off(tries: u32) -> Duration {
    let wait = Duration::from_secs(1 << (tries - 1).min(3));
    // The standard library's only source of randomness.
    let random = std::hash::RandomState::new().build_hasher().finish();
    let thousandths = (random % 250) as u32;
    wait + wait / 1000 * thousandths
}

/// The innermost of an error's causes: the outer ones only say that a request failed.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_varies_by_a_quarter() {
        for (tries, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (9, 8)] {
            let wait = back_off(tries);
            let least = Duration::from_secs(seconds);
            assert!(
                wait >= least && wait < least.mul_f64(1.25),
                "{tries}: {wait:?}"
            );
        }
    }
}
