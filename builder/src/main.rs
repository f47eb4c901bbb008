//! `builder`: makes Usernetes bundles.

use std::process::ExitCode;

fn main() -> ExitCode {
    builder::cli::main()
}
