//! Signals whose usual effect, the end of the process, would be worse than what they report.
//!
//! They are caught and not ignored, because a program that is run from here would inherit that they are ignored.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGXFSZ};
use signal_hook::flag::register;

/// Lets a file that becomes larger than `ulimit -f` allows be an error of writing, which names the file and the limit.
pub fn outlive_file_size_limit() {
    survive(SIGXFSZ);
}

/// Lets the work go on when the terminal is gone, as after a dropped ssh connection: half of an installation is of no
/// use to anybody. ^C still ends it.
pub(crate) fn outlive_terminal() {
    survive(SIGHUP);
}

fn survive(signal: i32) {
    // Where it cannot be caught it does what it always did.
    let _ = register(signal, Arc::new(AtomicBool::new(false)));
}
