//! Runs Kubernetes' own conformance tests, the program `e2e.test`, against a cluster that is there, and prints what they found
//! as a table. It runs wherever the cluster's API server is reached.
//!
//! The tests run in groups. What a group has found is on disk when it ends, so a run that was interrupted goes on where it was.

mod download;
mod results;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::{child, output};

use self::results::Results;
use self::suite::{Program, Suite};

/// Run Kubernetes' conformance tests against a cluster
#[derive(Debug, Parser)]
#[command(name = "conformance", after_help = Kind::EXIT_CODES)]
struct Cli {
    /// Run this e2e.test, which must be of the cluster's version; without it, that of the cluster's version is downloaded
    #[arg(long, value_name = "FILE")]
    e2e: Option<PathBuf>,
    /// Use the cluster of this kubeconfig [default: the file in $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Run these tests
    #[arg(long, value_enum, default_value = "conformance")]
    suite: Suite,
    /// Run only tests whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Run only every Nth test
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Keep downloads and results in this directory, and go on with what is there
    #[arg(long, value_name = "DIR", default_value = "conformance-results")]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show which programs are run
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    output::main(|cli: Cli| {
        if cli.verbose {
            child::show();
        }
        run(&cli, &Progress::stderr())
    })
}

fn run(cli: &Cli, progress: &Progress) -> Result<()> {
    fs_err::create_dir_all(&cli.directory)?;
    let kubeconfig = match &cli.kubeconfig {
        Some(file) => file.clone(),
        None => default_kubeconfig()?,
    };
    let file = match &cli.e2e {
        Some(file) => file.clone(),
        None => download::e2e(&kubeconfig, &cli.directory, progress)?,
    };
    let program = Program::new(&file, &kubeconfig, &cli.directory)?;
    let tests = program.tests(cli.suite)?;
    let tests = suite::chosen(tests, cli.only.as_deref(), cli.every);
    if tests.is_empty() {
        return Err(Error::new(Kind::Usage, "no test has such a name")
            .found(cli.only.clone().unwrap_or_default()));
    }
    let results = Results::open(&cli.directory.join("results.json"))?;
    let results = program.run(&tests, results, progress)?;
    output::data(&if cli.json {
        results.json(&tests)?
    } else {
        results.table(&tests)
    })?;
    results.verdict(&tests)
}

fn default_kubeconfig() -> Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        return Ok(PathBuf::from(list));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let file = home.map(|home| PathBuf::from(home).join(".kube/config"));
    file.filter(|file| file.exists()).ok_or_else(|| {
        Error::new(Kind::Usage, "there is no kubeconfig")
            .expected("a file in $KUBECONFIG, or ~/.kube/config")
            .hint("run `usernetes kubeconfig merge`, or name a file with `--kubeconfig`")
    })
}
