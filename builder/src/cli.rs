//! The command line of `builder`.
use std::process::ExitCode;
/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
