//! The command line of `builder`: parses it and calls the command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stub::error::{Kind, Result};
use stub::progress::Progress;
use stub::{child, output};

use crate::command::inputs::{Inputs, Selection};
use crate::command::mirror::MirrorCommand;
use crate::command::{build, demo, fetch, lock, mirror, sbom, verify};

/// Make Usernetes bundles: recipes → lock → fetch → build → verify
#[derive(Debug, Parser)]
#[command(name = "builder", version, after_help = exit_codes(), arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    inputs: Inputs,
    #[command(subcommand)]
    command: Command,
}

/// The exit code of `builder lock --check` if upstreams have newer versions. No error has it, so a script can tell this from a
/// wrong command line.
const NEWER: u8 = 8;

/// The table of exit codes, for `--help`.
fn exit_codes() -> String {
    format!(
        "{}\n  {NEWER}  `builder lock --check` found newer versions, and nothing else",
        Kind::EXIT_CODES
    )
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
    output::main(run)
}

fn run(Cli { inputs, command }: Cli) -> Result<ExitCode> {
    if inputs.verbose {
        child::show();
    }
    let progress = Progress::stderr();
    match command {
        Command::Lock(args) => match lock::run(&inputs, &args, &progress)? {
            // Not an error, but something a script wants to know.
            lock::End::Newer => return Ok(ExitCode::from(NEWER)),
            lock::End::Done => Ok(()),
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
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn newer_versions_have_an_exit_code_of_their_own() {
        let errors = [
            Kind::Failed,
            Kind::Usage,
            Kind::Input,
            Kind::Integrity,
            Kind::Network,
            Kind::Host,
            Kind::Busy,
        ];
        assert!(errors.iter().all(|kind| kind.exit_code() != NEWER));
        let help = Cli::command().render_help().to_string();
        assert!(
            help.contains("\n  8  `builder lock --check` found newer versions"),
            "{help}"
        );
        assert!(
            help.contains("\n  2  the command line is wrong\n"),
            "{help}"
        );
    }
}
