//! Runs the trials of `faults`, and prints what was tried and found as a table.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use faults::calls::{Fault, Point};
use faults::program;
use faults::report::Report;
use faults::trials::{Plan, try_verb};
use faults::verbs::{VERBS, Verb};
use stub::error::{Error, Kind, Result};
use stub::output;
use stub::threads::map_on_all_cores;

/// Stop the program at every call that changes the disk, and check what is left
///
/// Each verb runs in a temporary home, with a tiny bundle and a played service manager. It needs `strace`, and no root.
#[derive(Debug, Parser)]
#[command(name = "faults", after_help = Kind::EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Cli {
    /// Try only these verbs
    #[arg(value_name = "VERB", value_parser = PossibleValuesParser::new(VERBS.iter().map(|verb| verb.name)))]
    verbs: Vec<String>,
    /// Try only every Nth call
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Let each call fail with ENOSPC, EIO and EDQUOT; without this, these take turns
    #[arg(long)]
    all_errors: bool,
    /// Also kill each verb at this many random instants
    #[arg(long, value_name = "N", default_value_t = 0)]
    random: u64,
    /// Also start each verb twice at once, this many times
    #[arg(long, value_name = "N", default_value_t = 0)]
    twice: u64,
    /// Also try each verb on a read-only file system
    #[arg(long)]
    read_only: bool,
    /// Begin the random numbers with this one [default: the time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Leave out the trials at calls
    #[arg(long)]
    no_calls: bool,
    /// Try only this call, such as `rename:3`
    #[arg(long, value_name = "CALL:NUMBER", conflicts_with = "no_calls")]
    at: Option<Point>,
    /// With --at: try only this
    #[arg(long, value_name = "FAULT", requires = "at")]
    fault: Option<Fault>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    output::main(|cli: Cli| {
        let clean = run(&cli)?;
        Ok(ExitCode::from(u8::from(!clean)))
    })
}

/// Gives whether no fault was found.
fn run(cli: &Cli) -> Result<bool> {
    program::build()?;
    if !cli.no_calls && !program::has_strace() {
        return Err(Error::new(Kind::Host, "there is no `strace` in PATH")
            .hint("install the package `strace`"));
    }
    let seed = cli.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default().as_secs()
    });
    if cli.random > 0 || cli.twice > 0 {
        output::message(&format!("the random numbers begin with {seed}"));
    }
    let plan = Plan {
        calls: !cli.no_calls,
        every: cli.every as usize,
        all_errors: cli.all_errors,
        at: cli.at.clone(),
        fault: cli.fault,
        random: cli.random,
        twice: cli.twice,
        read_only: cli.read_only,
        seed,
    };
    let wanted = |verb: &&Verb| cli.verbs.is_empty() || cli.verbs.iter().any(|v| v == verb.name);
    let verbs: Vec<&Verb> = VERBS.iter().filter(wanted).collect();
    let worker = AtomicUsize::new(0);
    let rows = map_on_all_cores(&verbs, |verb| {
        faults::arena::stay_on_core(worker.fetch_add(1, Ordering::Relaxed));
        let row = try_verb(verb, &plan);
        output::message(&row.line());
        Ok(row)
    })?;
    let report = Report::new(rows);
    output::data(&if cli.json {
        report.json()?
    } else {
        report.text()
    })?;
    Ok(report.is_clean())
}
