//! The command line of `builder`: arguments here, what they do in the module named after the command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use stub::bundle::{Arch, Name, frame};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::{output, sbom, signals};

use crate::command::{self, Outcome};

/// Makes Usernetes bundles: recipes → lock → fetch → build → verify.
#[derive(Debug, Parser)]
#[command(name = "builder", version, after_help = Kind::EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    inputs: Inputs,
    #[command(subcommand)]
    command: Command,
}

/// Where everything comes from. The same for every command.
#[derive(Debug, Args)]
pub struct Inputs {
    /// The checkout to build from [default: the one around the current directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// The recipes [default: `recipes` in the checkout]
    #[arg(long, global = true, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
    /// The lockfile [default: `lockfile.json` in the checkout]
    #[arg(long, global = true, value_name = "FILE")]
    pub lockfile: Option<PathBuf>,
    /// Take downloads from here first: a directory made by `builder mirror export` or a copy of a cache, or its http(s) address
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub mirror: Option<String>,
    /// Never open a socket: everything must be in the cache or in a `--mirror` directory
    #[arg(long, global = true)]
    pub offline: bool,
    /// Debian archive for recipes `from = "debian"` [default: the one this machine's apt uses]
    #[arg(long, global = true, value_name = "URL")]
    pub debian_archive: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Which part of the lockfile is meant.
#[derive(Debug, Args)]
pub struct Selection {
    /// The processor to build for: `x86_64` or `aarch64` [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
    /// Only these components, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub components: Vec<Name>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Resolve recipes into the lockfile, or check the one against the other
    Lock(LockArgs),
    /// Download everything the lockfile pins into the cache
    Fetch(Selection),
    /// Make the bundle
    Build(BuildArgs),
    /// Check every byte of a bundle, and with --rebuild that it can be made again
    Verify(VerifyArgs),
    /// Print the software bill of materials of a bundle
    Sbom(SbomArgs),
    /// Keep a copy of the downloads for machines without a network
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Show all of it at work, with what a Debian mirror alone can give
    Demo(DemoArgs),
}

/// Arguments of `builder lock`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct LockArgs {
    /// Resolve the newest allowed versions and write the lockfile. What is released together is updated together. If `GITHUB_TOKEN` is set, it is sent to GitHub's API, and only there: GitHub answers more requests to whoever has one
    #[arg(long)]
    pub update: bool,
    /// Say what is unpinned or does not fit the recipes (exit code 3), which is all that is done without `--update` and `--check`; if nothing is, ask upstreams, unless `--offline`, and say what is newer (exit code 2). Changes nothing
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Show what `--update` would do, and write no lockfile
    #[arg(long, requires = "update")]
    pub dry_run: bool,
    /// How many days a version must have been out before it is taken, where upstream says since when it is
    #[arg(long, value_name = "DAYS", default_value_t = 3)]
    pub min_age: u16,
    /// Replace a newer version by an older one, if that is the newest there is
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Replace a pin even if there is less evidence for the new one
    #[arg(long)]
    pub allow_weaker_evidence: bool,
    /// Only these components
    #[arg(value_name = "NAME")]
    pub names: Vec<Name>,
    /// The processor to resolve Debian packages for [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
    /// The suite of Debian packages whose recipe names none [default: this machine's]
    #[arg(long, value_name = "SUITE")]
    pub debian_suite: Option<Name>,
}

/// Arguments of `builder build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Which part of the lockfile
    #[command(flatten)]
    pub selection: Selection,
    /// Where the result goes [default: `usernetes-<arch>` or `usernetes-<arch>.tbz` in the current directory]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Compression level: 3 is quick, 19 is small
    #[arg(long, default_value_t = frame::RELEASE_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// One executable, or the classic archive of a directory
    #[arg(long, value_enum, default_value_t = OutputFormat::Exe)]
    pub format: OutputFormat,
    /// A ready static stub instead of compiling the one in the checkout
    #[arg(long, value_name = "FILE")]
    pub stub: Option<PathBuf>,
}

/// What `builder build` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// The self-extracting executable
    Exe,
    /// A `.tbz` of the directory `usernetes/`
    Tbz,
}

/// Arguments of `builder verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The bundle
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Build it again from this checkout and compare every byte
    #[arg(long)]
    pub rebuild: bool,
    /// Its minisign signature [default: FILE.minisig, if there is one]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// The public key that must have signed it, or a file with it [default: the release's]
    #[arg(long, value_name = "KEY|FILE")]
    pub key: Option<String>,
}

/// Arguments of `builder sbom`.
#[derive(Debug, Args)]
pub struct SbomArgs {
    /// The bundle
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Form of the document
    #[arg(long, value_enum, default_value_t)]
    pub format: sbom::Format,
}

#[derive(Debug, Subcommand)]
enum MirrorCommand {
    /// Copy everything the lockfile needs from the cache into a directory, downloading what is missing
    Export {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        selection: Selection,
    },
}

/// Arguments of `builder demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where everything happens; the bundle stays there [default: `demo` in the target directory]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Compression level
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
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
    let progress = Progress::stderr();
    let result = match command {
        Command::Lock(args) => match command::lock(&inputs, &args, &progress) {
            // Not an error, but something a script wants to know.
            Ok(Outcome::Newer) => return ExitCode::from(Kind::Usage.exit_code()),
            other => other.map(drop),
        },
        Command::Fetch(args) => command::fetch(&inputs, &args, &progress),
        Command::Build(args) => command::build(&inputs, &args, &progress),
        Command::Verify(args) => command::verify(&inputs, &args, &progress),
        Command::Sbom(args) => command::sbom(&args),
        Command::Mirror(MirrorCommand::Export {
            directory,
            selection,
        }) => command::export(&inputs, &selection, &directory, &progress),
        Command::Demo(args) => crate::demo::run(&inputs, &args, &progress),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::report(&error),
    }
}

/// Prints a command's result on stdout: the text, or with `--json` the value. A closed pipe is no error.
pub fn print(inputs: &Inputs, text: &str, value: &impl Serialize) -> Result<()> {
    let text = if inputs.json {
        serde_json::to_string_pretty(value)
            .map_err(|e| Error::new(Kind::Failed, format!("cannot print the result: {e}")))?
            + "\n"
    } else {
        text.to_owned()
    };
    output::data(&text)
}
