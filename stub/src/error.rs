//! The one error type of both crates: what went wrong, with what, and what to do next.
//!
//! An [`Error`] names the thing it is about, lists what was expected and what was found, carries the next step as
//! a `hint:`, and knows the exit code of the process ([`Kind`]). Printed, it looks like this:
//!
//! ```text
//! error: kubelet 1.36.3: the download does not match lockfile.json
//!   url       https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet
//!   expected  sha256 21a5…
//!   found     sha256 9c77…
//!
//! hint: if upstream re-published this version on purpose, run `builder lock --update kubelet` and review the diff
//! ```

mod system;

use std::fmt::{self, Write as _};

/// Result with the project's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The sort of failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything that is none of the following.
    Failed,
    /// The command line asks for something that does not exist or does not go together.
    Usage,
    /// A file written by a person or another program does not say what it must: recipe, lockfile, manifest, configuration.
    Input,
    /// Bytes are not the expected ones: damaged, truncated, tampered with, or not signed by the expected key.
    Integrity,
    /// Something could not be fetched over the network.
    Network,
    /// This machine cannot do it as it is: no space, read-only, noexec, wrong architecture, missing program.
    Host,
    /// Another process holds the lock.
    Busy,
}

impl Kind {
    /// The exit code of a process that ends with an error of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Integrity => 4,
            Self::Network => 5,
            Self::Host => 6,
            Self::Busy => 7,
        }
    }

    /// The table of exit codes, for `--help`. A program that has more adds them.
    pub const EXIT_CODES: &'static str = "\
Exit codes:
  0  done
  1  failed for a reason not listed below
  2  the command line is wrong
  3  a recipe, lockfile, manifest or configuration file is wrong
  4  bytes are damaged, truncated or not the pinned ones
  5  something could not be fetched
  6  this machine cannot do it as it is (space, permissions, architecture, a missing program)
  7  another process holds the lock";
}

/// What went wrong, with what, and what to do next. See the [module](self) for its printed form.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    details: Vec<(String, String)>,
    hint: Option<String>,
    /// The same would work in another place, and the hint does not name one yet.
    of_place: bool,
}

impl Error {
    /// An error of a kind. The message is lower-case, without a final period, and names the thing.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            details: Vec::new(),
            hint: None,
            of_place: false,
        }))
    }

    /// The same error without its next step, for a caller that takes another one.
    #[must_use]
    pub fn without_hint(mut self) -> Self {
        self.0.hint = None;
        self
    }

    /// Adds a labelled line under the message, for example `url  https://…`.
    #[must_use]
    pub fn detail(mut self, label: &str, value: impl fmt::Display) -> Self {
        self.0.details.push((label.to_owned(), value.to_string()));
        self
    }

    /// Adds the line that says what was expected.
    #[must_use]
    pub fn expected(self, value: impl fmt::Display) -> Self {
        self.detail("expected", value)
    }

    /// Adds the line that says what was found instead.
    #[must_use]
    pub fn found(self, value: impl fmt::Display) -> Self {
        self.detail("found", value)
    }

    /// Says what to do next. Only the first hint counts: the caller nearest to the cause knows best.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert(hint.into());
        self
    }

    /// Marks an error that would not occur in another place.
    fn of_place(mut self) -> Self {
        self.0.of_place = true;
        self
    }

    /// Adds to the hint how to choose another place (`set …`), if the error would not occur there. Only the first call
    /// counts: the caller nearest to the cause knows best.
    #[must_use]
    pub fn elsewhere(mut self, how: &str) -> Self {
        if std::mem::take(&mut self.0.of_place) {
            let hint = self.0.hint.get_or_insert_default();
            hint.push_str(if hint.is_empty() { "" } else { ", or " });
            hint.push_str(how);
        }
        self
    }

    /// Puts the thing the error is about in front of the message: `thing: message`.
    #[must_use]
    pub fn about(mut self, thing: impl fmt::Display) -> Self {
        self.0.message = format!("{thing}: {}", self.0.message);
        self
    }

    /// The kind, which decides the exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message alone, without details and hint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Shown(&self.0.message, LONGEST), f)?;
        let width = self
            .0
            .details
            .iter()
            .map(|(l, _)| l.len())
            .max()
            .unwrap_or(0);
        for (label, value) in &self.0.details {
            write!(f, "\n  {label:width$}  {}", Shown(value, LONGEST))?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\n\nhint: {}", Shown(hint, usize::MAX))?;
        }
        Ok(())
    }
}

/// No more than this many characters of a message and of each of its details are shown.
const LONGEST: usize = 2000;

/// A part of an error, and how many characters of it are shown. It may repeat bytes that a stranger wrote, so characters that
/// steer a terminal or turn its text around are shown as escapes.
struct Shown<'a>(&'a str, usize);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        for (number, c) in self.0.chars().enumerate() {
            if number == self.1 {
                return f.write_str("…");
            }
            if (c.is_control() && !matches!(c, '\n' | '\t')) || turns(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// [`Error::about`] and [`Error::hint`] on results.
pub trait Context<T> {
    /// Puts the thing the error is about in front of its message.
    fn about<D: fmt::Display>(self, thing: impl FnOnce() -> D) -> Result<T>;
    /// Says what to do next, unless the error already does.
    fn hint(self, hint: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn about<D: fmt::Display>(self, thing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.into().about(thing()))
    }

    fn hint(self, hint: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().hint(hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_form() {
        let error = Error::new(Kind::Integrity, "the download does not match lockfile.json")
            .detail("url", "https://example.org/kubelet")
            .expected("sha256 aa")
            .found("sha256 bb")
            .hint("first")
            .hint("second")
            .about("kubelet 1.36.3");
        insta::assert_snapshot!(error.to_string(), @r"
        kubelet 1.36.3: the download does not match lockfile.json
          url       https://example.org/kubelet
          expected  sha256 aa
          found     sha256 bb

        hint: first
        ");
        assert_eq!(error.kind().exit_code(), 4);
    }

    /// Found while `tests/fuzz` was written: a file of digests could clear the screen of those who read the message, or fill it.
    #[test]
    fn what_strangers_write_is_shown_as_it_is_and_not_in_full() {
        let error = Error::new(Kind::Input, "a\u{1b}[2Jb")
            .found(format!("\u{202e}c\r\n\td{}", "e".repeat(5000)))
            .hint("f".repeat(3000));
        let shown = error.to_string();
        let begins = "a\\u{1b}[2Jb\n  found  \\u{202e}c\\r\n\tdeeee";
        assert!(shown.starts_with(begins), "{shown}");
        assert_eq!(shown.matches('e').count(), LONGEST - 6 + 1);
        assert_eq!(shown.matches('f').count(), 3001);
    }

    #[test]
    fn full_disk_is_the_hosts_fault_and_has_a_next_step() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind(), Kind::Host);
        assert!(error.to_string().contains("hint: free some space"));
    }
}
