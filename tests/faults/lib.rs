//! Stops the real program with SIGKILL or an error of the disk, and checks what our promise is worth: afterwards there is the
//! old state or the new one, the next run succeeds, and nothing is left over.
//!
//! [`verbs`] has the commands that are tried. Each has an [`arena`]: a home of its own, to which every trial comes back. In it,
//! the command runs undisturbed first, so the [`listing`] of the old and of the new state is known, and the [`calls`] that change
//! the disk. Then a trial does one of these, and the [`judge`] looks at what is left:
//!
//! * `strace` kills the program at such a call, or lets the call fail (ENOSPC, EIO, EDQUOT);
//! * the program is killed at a random instant;
//! * the same command is started twice at once;
//! * the home is on a read-only file system.
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a trial that cannot be made is a fault of this program: it panics"
)]

pub mod arena;
pub mod calls;
pub mod judge;
pub mod listing;
pub mod program;
pub mod report;
pub mod trials;
pub mod verbs;
