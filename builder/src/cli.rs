//! The command line of `builder`: parses it and calls the command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stub::error::Kind;
use stub::progress::Progress;
use stub::{child, output, signals};

use crate::command::inputs::{Inputs, Selection};
use crate::command::mirror::MirrorCommand;
use crate::command::{build, demo, fetch, lock, mirror, sbom, verify};

/// Make Usernetes bundles: recipes → lock → fetch → build → verify
#[derive(Debug, Parser)]
#[command(name = "builder", version, after_help = Kind::EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    inputs: Inputs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the recipes with the lockfile, or write the newest allowed versions into it
    Lock(lock::LockArgs),
    /// Download the files that the lockfile pins into the cache
    Fetch(Selection),
    /// Download the files that the cache lacks, and build the bundle
    Build(build::BuildArgs),
    /// Check every byte of a bundle, and its signature; with --rebuild, also build it again and compare
    Verify(verify::VerifyArgs),
    /// Print a bundle's software bill of materials (SBOM)
    Sbom(sbom::SbomArgs),
    /// Copy the downloads for machines without a network
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Compile and run the demo: the whole pipeline on packages from a Debian mirror
    #[command(disable_help_flag = true)]
    Demo(demo::DemoArgs),
}

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    output::report_panics();
    signals::outlive_file_size_limit();
    let Cli { inputs, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::command_line(&error),
    };
    if inputs.verbose {
        child::show();
    }
    let progress = Progress::stderr();
    let result = match command {
        Command::Lock(args) => match lock::run(&inputs, &args, &progress) {
            // Not an error, but something a script wants to know.
            Ok(lock::End::Newer) => return ExitCode::from(Kind::Usage.exit_code()),
            other => other.map(drop),
        },
        Command::Fetch(args) => fetch::run(&inputs, &args, &progress),
        Command::Build(args) => build::run(&inputs, &args, &progress),
        Command::Verify(args) => verify::run(&inputs, &args, &progress),
        Command::Sbom(args) => sbom::run(&args),
        Command::Mirror(MirrorCommand::Export {
            directory,
            selection,
        }) => mirror::export(&inputs, &selection, &directory, &progress),
        Command::Demo(args) => demo::run(&inputs, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::report(&error),
    }
}
