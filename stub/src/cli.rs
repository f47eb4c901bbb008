//! The command line of `usernetes`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bundle::Bundle;
use crate::error::{Kind, Result};

/// Rootless Kubernetes under $HOME.
#[derive(Debug, Parser)]
#[command(name = "usernetes", version, after_help = Kind::EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is inside: components, versions, sizes
    List,
}

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::List => Bundle::of_this_process().map(|_| ()),
    }
}
