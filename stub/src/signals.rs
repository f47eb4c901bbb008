//! Lets the process survive signals that would end it for a minor reason.
//!
//! The signals are caught and not ignored, because programs started from this process would inherit ignored signals.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGXFSZ};
use signal_hook::flag::register;

/// Turns writing more than `ulimit -f` allows into an ordinary write error, which names the file and the limit.
pub(crate) fn outlive_file_size_limit() {
    survive(SIGXFSZ);
}

/// Lets the work continue when the terminal is closed, for example by a dropped ssh connection, because half an installation
/// is useless. Ctrl-C still ends it.
pub(crate) fn outlive_terminal() {
    survive(SIGHUP);
}

fn survive(signal: i32) {
    // If the signal cannot be caught, it keeps its usual effect.
    let _ = register(signal, Arc::new(AtomicBool::new(false)));
}
