//! The command line of `usernetes`.

mod inspect;
mod install;
mod output;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Kind, Result};
use crate::progress::Progress;

/// Rootless Kubernetes under $HOME.
#[derive(Debug, Parser)]
#[command(name = "usernetes", after_help = Kind::EXIT_CODES, disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    /// Print the release and, of a bundle, the beginning of its id
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Unpack the bundle and make it the current generation
    Install(install::Install),
    /// What is inside: components, versions, licences, sizes
    List(inspect::List),
    /// Check every byte of a bundle, or of what is installed
    Verify(inspect::Verify),
    /// Licences of the components, their texts, and where source code is
    Licenses(inspect::Licenses),
    /// Print the software bill of materials
    Sbom(inspect::Sbom),
    /// What has been installed, and which of it is current
    Generations(store::Generations),
    /// Make an earlier generation current again
    Rollback(store::Rollback),
    /// Remove what neither the current nor the previous generation nor a running process needs
    Gc(store::Gc),
}

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(cli: &Cli) -> Result<()> {
    let progress = Progress::stderr();
    match &cli.command {
        _ if cli.version => inspect::version(),
        None => Ok(()),
        Some(Command::Install(args)) => args.run(&progress),
        Some(Command::List(args)) => args.run(),
        Some(Command::Verify(args)) => args.run(&progress),
        Some(Command::Licenses(args)) => args.run(),
        Some(Command::Sbom(args)) => args.run(),
        Some(Command::Generations(args)) => args.run(),
        Some(Command::Rollback(args)) => args.run(&progress),
        Some(Command::Gc(args)) => args.run(&progress),
    }
}
