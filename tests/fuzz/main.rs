//! Compiles the targets with libFuzzer, runs each for some time, and prints what was run and found as a table.
//!
//! Cargo runs this program in the place of the compiler, too, for our own crates: then it adds the options that make a program
//! tell which of its parts an input reaches. Other crates are compiled as for everything else.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use fuzz::{LONGEST, TARGETS};
use serde_json::Value;
use stub::child;
use stub::error::{Context as _, Error, Kind, Result};
use stub::output;
use stub::table::table;
use stub::threads::map_on_all_cores;

/// Set where this program stands in the place of the compiler.
const INSTRUMENT: &str = "FUZZ_INSTRUMENT";
/// The options of LLVM's coverage (clang's documentation, "`SanitizerCoverage`") that libFuzzer needs, and those that make sums
/// which overflow be seen.
const OPTIONS: [&str; 7] = [
    "-Coverflow-checks=on",
    "-Cdebug-assertions=on",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Look for inputs that show faults of the parsers of foreign bytes
///
/// Inputs that reach something new are kept in the directory `fuzzing` beside the compiled programs, and the next run begins with
/// them and with those in tests/fuzz/corpus.
#[derive(Debug, Parser)]
#[command(name = "fuzz", after_help = Kind::EXIT_CODES)]
struct Cli {
    /// Run only these targets
    #[arg(value_name = "TARGET", value_parser = TARGETS.map(|(name, _)| name))]
    targets: Vec<String>,
    /// Run each target for this many seconds
    #[arg(long, value_name = "NUMBER", default_value_t = 60)]
    seconds: u32,
    /// End a target sooner, after this many executions
    #[arg(long, value_name = "NUMBER")]
    executions: Option<u64>,
    /// Compile with this profile of Cargo.toml; `dev` is compiled sooner and runs several times slower
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
}

/// What a run of a target said.
#[derive(Debug, Default)]
struct Outcome {
    executions: u64,
    seconds: u64,
    coverage: String,
    /// Files with inputs that show a fault.
    faults: Vec<PathBuf>,
}

impl Outcome {
    /// The line of the table.
    fn row(&self, name: &str) -> [String; 5] {
        [
            name.to_owned(),
            self.executions.to_string(),
            (self.executions / self.seconds.max(1)).to_string(),
            self.coverage.clone(),
            self.faults.len().to_string(),
        ]
    }
}

fn main() -> ExitCode {
    if std::env::var_os(INSTRUMENT).is_some() {
        return compile();
    }
    output::main(|cli: Cli| {
        let clean = run(&cli)?;
        Ok(ExitCode::from(u8::from(!clean)))
    })
}

/// Becomes the compiler.
fn compile() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next().unwrap_or_else(|| OsString::from("rustc"));
    let error = Command::new(rustc).args(arguments).args(OPTIONS).exec();
    output::report(&error.into())
}

/// Gives whether no fault was found.
fn run(cli: &Cli) -> Result<bool> {
    let program = build(&cli.profile)?;
    let work = program.with_file_name("fuzzing");
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut names = TARGETS.map(|(name, _)| name).to_vec();
    names.retain(|name| cli.targets.is_empty() || cli.targets.iter().any(|t| t == name));
    // A target keeps one core busy.
    let outcomes = map_on_all_cores(&names, |name| {
        let outcome = fuzz(&program, name, &corpora.join(name), &work, cli)?;
        output::message(&outcome.row(name).join("  "));
        Ok((*name, outcome))
    })?;
    let header = ["target", "executions", "per second", "coverage", "faults"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(outcomes.iter().map(|(name, outcome)| outcome.row(name)));
    output::data(&table(&rows, &[1, 2, 3, 4]))?;
    let faults = outcomes
        .iter()
        .flat_map(|(name, outcome)| outcome.faults.iter().map(move |file| (name, file)));
    let faults: Vec<_> = faults.collect();
    for (name, file) in &faults {
        output::data(&format!(
            "{name}: {}; `FUZZ_TARGET={name} {} {}` shows it again\n",
            file.display(),
            program.display(),
            file.display()
        ))?;
    }
    Ok(faults.is_empty())
}

/// Compiles all targets into one program.
fn build(profile: &str) -> Result<PathBuf> {
    let built = child::cargo()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "-p",
            "fuzz",
            "--bin",
            "libfuzzer",
            "--features",
            "libfuzzer",
        ])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--profile",
            profile,
        ])
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .env(INSTRUMENT, "1")
        .stderr(Stdio::inherit())
        .output()
        .about(|| "cargo")?;
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let found = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == "libfuzzer";
        message["executable"]
            .as_str()
            .filter(|_| ours)
            .map(PathBuf::from)
    });
    found.filter(|_| built.status.success()).ok_or_else(|| {
        Error::new(Kind::Failed, "the targets cannot be compiled")
            .hint("the reason is above; libFuzzer itself needs `g++`")
    })
}

/// Runs a target. New inputs, faults and the log are kept in a directory below `work`.
fn fuzz(program: &Path, name: &str, corpus: &Path, work: &Path, cli: &Cli) -> Result<Outcome> {
    let work = work.join(name);
    let (found, faults) = (work.join("found"), work.join("faults"));
    for directory in [&found, &faults] {
        fs_err::create_dir_all(directory)?;
    }
    let log = work.join("log");
    let before = entries(&faults)?;
    Command::new(program)
        .env("FUZZ_TARGET", name)
        .arg(&found)
        .arg(corpus)
        .arg(format!("-max_total_time={}", cli.seconds))
        .args(cli.executions.map(|number| format!("-runs={number}")))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-artifact_prefix={}/", faults.display()))
        .args(["-timeout=300", "-print_final_stats=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs_err::File::create(&log)?.into_parts().0)
        .status()
        .about(|| program.display())?;
    let mut faults = entries(&faults)?;
    faults.retain(|file| !before.contains(file));
    let said = String::from_utf8_lossy(&fs_err::read(&log)?).into_owned();
    Ok(Outcome {
        faults,
        ..read(&said)
    })
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Reads what libFuzzer says: `#8192 pulse  cov: 512 ft: 700 …`, `Done 9000 runs in 31 second(s)`, and at the end lines such as
/// `stat::number_of_executed_units: 9000`.
fn read(log: &str) -> Outcome {
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or_default();
    let after = |key: &str| {
        let found = log
            .lines()
            .rev()
            .find_map(|line| Some(line.split_once(key)?.1));
        found.map(str::trim_start)
    };
    let executions = number(after("stat::number_of_executed_units:").unwrap_or_default());
    let average = number(after("stat::average_exec_per_sec:").unwrap_or_default());
    let coverage = after(" cov:").and_then(|rest| rest.split(' ').next());
    Outcome {
        executions,
        seconds: executions.checked_div(average).unwrap_or_default(),
        coverage: coverage.unwrap_or("0").to_owned(),
        faults: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let log = "INFO: seed corpus: files: 3\n#4\tINITED cov: 90 ft: 91 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #8192\tpulse  cov: 512 ft: 700 corp: 9/90b lim: 80 exec/s: 300 rss: 41Mb\n\
            Done 9000 runs in 30 second(s)\nstat::number_of_executed_units: 9000\n\
            stat::average_exec_per_sec:     300\nstat::new_units_added:          5\n";
        let outcome = read(log);
        assert_eq!((outcome.executions, outcome.seconds), (9000, 30));
        assert_eq!(outcome.coverage, "512");
        // A fault may end it before there is anything to count.
        assert_eq!(
            read("==7== ERROR: libFuzzer: deadly signal\n").executions,
            0
        );
    }
}
