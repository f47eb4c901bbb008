//! `usernetes`: the head of a bundle and, once installed, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    stub::cli::main()
}
