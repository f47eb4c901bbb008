//! Measures how one control plane copes with many nodes. The nodes are hollow: Kubernetes' own `kubemark`, a kubelet whose
//! container runtime is played. Each is a process on the machine that this program runs on.
//!
//! Steps follow one another, each with more nodes and pods than the one before. What a step does not reach in its time is a
//! result, and no failure: there, one machine is no longer enough. At the end everything that was made is removed, also after an
//! error or a signal.

mod api;
mod calls;
mod hollow;
mod machine;
mod pods;
mod report;
mod steps;
mod stop;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use stub::error::{Kind, Result};
use stub::progress::Progress;
use stub::{child, output};

use self::api::Api;
use self::hollow::Hollow;
use self::machine::Machine;
use self::report::Report;
use self::steps::{Plan, Scale};
use self::stop::Stop;

/// Measure one control plane with many hollow nodes
///
/// It needs `kubectl` in PATH, and no root. Only its own pods run on the hollow nodes. It removes what has the label
/// `usernetes-scale=hollow` from the cluster, when it begins and when it ends.
#[derive(Debug, Parser)]
#[command(name = "scale", after_help = Kind::EXIT_CODES)]
struct Cli {
    /// Use the cluster of this kubeconfig, as its administrator
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Run this `kubemark`, of the cluster's version
    #[arg(long, value_name = "FILE")]
    kubemark: PathBuf,
    /// Measure with these numbers of nodes
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,30,100", value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: Vec<u16>,
    /// Run this many pods for each node
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    pods: u16,
    /// Reach the machine of the cluster with this command, such as `ssh me@machine`; without it, it is this one
    #[arg(long, value_name = "COMMAND")]
    on: Option<String>,
    /// Wait at most this long for the nodes of a step, and as long for its pods
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
    /// Measure each step for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
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
    let stop = Stop::on_signals()?;
    let api = Api::new(Path::new("kubectl"), &cli.kubeconfig)?;
    // Later on, a cluster that does not answer is one that has too much to do.
    api.get("/version")?;
    let hollow = Hollow::new(&cli.kubemark, &cli.kubeconfig)?;
    let machine = Machine::new(cli.on.as_deref());
    let plan = Plan {
        nodes: cli.nodes.clone(),
        pods: cli.pods,
        limit: Duration::from_secs(cli.limit),
        measure: Duration::from_secs(cli.seconds),
    };
    let mut scale = Scale::new(&api, hollow, &machine, &stop, progress);
    let mut report = Report::default();
    let ended = scale.run(&plan, &mut report);
    let removed = scale.remove();
    // What was measured before an error is printed, too.
    if !report.steps.is_empty() {
        output::data(&if cli.json {
            report.json()?
        } else {
            report.markdown()
        })?;
    }
    ended.and(removed)
}
