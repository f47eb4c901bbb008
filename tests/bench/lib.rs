//! Measures the promises of size and speed as ratios, all from one run on one machine, and says which hold.
//!
//! It builds a bundle from a lockfile, whose downloads a cache has, and compares it with the files that other programs make of
//! the same content. Competitors take turns, so that a machine that slows down slows down all of them. A promise that falls
//! short is printed as such and is no failure, because no machine is too slow to be measured.
//!
//! The parts:
//!
//! * [`builds`] runs the builder: with an empty cache, again, and with one changed component ([`bump`]);
//! * [`competitors`] packs the same files with other programs;
//! * [`unpack`] unpacks all of that, in turns;
//! * [`verbs`] starts the verbs of the installed program;
//! * [`promises`] compares the figures with what was promised, [`report`] prints them, and [`chart`] draws them.

mod builds;
mod bump;
mod chart;
mod competitors;
mod machine;
mod promises;
mod report;
mod times;
mod unpack;
mod verbs;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use builder::workspace::Workspace;
use clap::Parser;
use stub::bundle::{Bundle, Name, frame};
use stub::error::{Context as _, Error, Kind, Result};
use stub::progress::Progress;
use stub::{child, files, output};

use self::builds::Builder;
use self::machine::Machine;
use self::report::{Payload, Report};

/// Measure the promises of size and speed, as ratios from one run
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo bench -p builder --", after_help = Kind::EXIT_CODES)]
struct Cli {
    /// Measure a bundle of this lockfile [default: that of the demo]
    #[arg(long, value_name = "FILE")]
    lockfile: Option<PathBuf>,
    /// Give the builder this directory of recipes
    #[arg(long, value_name = "DIR")]
    recipes: Option<PathBuf>,
    /// Take the downloads from this cache or mirror, which stays as it is [default: your own cache]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Measure a bundle of these components only, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    components: Vec<Name>,
    /// Compress at this level
    #[arg(long, value_name = "N", default_value_t = frame::RELEASE_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Measure everything that takes turns so many times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Put this statically linked program at the beginning of the bundle, instead of compiling the checkout's stub
    #[arg(long, value_name = "FILE")]
    stub: Option<PathBuf>,
    /// Work in this directory, whose file system is measured, too; it is emptied before and afterwards [default: `bench` in the target directory]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Print JSON: bytes, seconds and ratios
    #[arg(long)]
    json: bool,
    /// Draw the ratios with their bounds into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show which programs are run
    #[arg(short, long)]
    verbose: bool,
    // `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Runs the benchmark. `builder` is the builder's program, `package` a directory of the checkout to measure. Gives the exit code
/// of the process.
#[must_use]
pub fn main(builder: &Path, package: &Path) -> ExitCode {
    output::main(|cli: Cli| {
        let cli = cli.seen_from_the_shell();
        if cli.verbose {
            child::show();
        }
        run(&cli, builder, package, &Progress::stderr())
    })
}

impl Cli {
    /// Cargo starts the program in the package's directory; the user means the shell's, which is still in this variable.
    fn seen_from_the_shell(mut self) -> Self {
        if let Some(here) = env::var_os("PWD").map(PathBuf::from) {
            let paths = [
                &mut self.lockfile,
                &mut self.recipes,
                &mut self.cache,
                &mut self.stub,
                &mut self.work,
                &mut self.svg,
            ];
            for path in paths.into_iter().flatten() {
                *path = here.join(&*path);
            }
        }
        self
    }
}

fn run(cli: &Cli, program: &Path, package: &Path, progress: &Progress) -> Result<()> {
    let package = package.parent().unwrap_or(package);
    let workspace = Workspace::find(Some(package))?;
    let target = workspace.target();
    let work = cli.work.clone().unwrap_or_else(|| target.join("bench"));
    let demo = target.join("demo/lockfile.json");
    let lockfile = cli.lockfile.clone().unwrap_or_else(|| demo.clone());
    if !lockfile.is_file() {
        let error = Error::new(Kind::Usage, "there is no lockfile to measure");
        return Err(error.expected(lockfile.display()).hint(
            "run `cargo run --release -- demo` first, or name another lockfile with `--lockfile`",
        ));
    }
    let cache = match &cli.cache {
        Some(directory) => directory.clone(),
        None => stub::paths::cache_dir()?,
    };
    let builder = Builder {
        program,
        workspace: &workspace,
        lockfile: &lockfile,
        recipes: cli.recipes.as_deref(),
        components: &cli.components,
        level: cli.level,
        stub: cli.stub.as_deref(),
        downloads: &cache,
        work: &work,
    };
    empty(&work)?;
    let result = measure(cli, &builder, progress);
    files::remove_tree(&work)?;
    let report = result?;
    if let Some(file) = &cli.svg {
        fs_err::write(file, chart::svg(&report))?;
        progress.line(format!("the chart is in {}", file.display()));
    }
    output::data(&if cli.json {
        report.json()?
    } else {
        report.text()
    })
}

/// Makes the directory anew. Refuses one with files that an earlier run cannot have left there.
fn empty(work: &Path) -> Result<()> {
    const MARK: &str = "made-by-the-benchmark";
    let foreign = work.is_dir() && !work.join(MARK).exists();
    if foreign && fs_err::read_dir(work)?.next().is_some() {
        let error = Error::new(Kind::Usage, "the benchmark would remove what is in there");
        return Err(error
            .about(work.display())
            .hint("name a directory with `--work` that is empty or does not exist"));
    }
    files::remove_tree(work)?;
    fs_err::create_dir_all(work)?;
    fs_err::write(work.join(MARK), "").map_err(Error::from)
}

fn measure(cli: &Cli, builder: &Builder, progress: &Progress) -> Result<Report> {
    let (work, rounds) = (builder.work, usize::from(cli.rounds));
    let machine = Machine::describe(work)?;
    progress.line(machine.line());
    let builds = builder.measure(rounds, progress)?;
    let path = builder.bundle();
    let bundle = Bundle::open(&path).about(|| path.display())?;

    let home = work.join("home");
    unpack::install(&path, &home)?;
    let data = home.join(".local/share/usernetes");
    let packed = competitors::pack_all(&data, work, progress)?;
    let unpacked = unpack::measure(&path, &packed, &data, rounds, work, progress)?;
    let verbs = verbs::measure(&path, &home, rounds, work, progress)?;

    let payload = Payload::of(&bundle, &data)?;
    let mut report = Report {
        load_at_end: machine::load()?,
        machine,
        payload,
        rounds: cli.rounds,
        builds,
        packed,
        unpacked,
        verbs,
        promises: Vec::new(),
    };
    report.promises = promises::compare(&report);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_takes_what_cargo_adds() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["bench", "--bench", "--level", "3"]).unwrap();
        assert_eq!((cli.level, cli.rounds), (3, 5));
        for wrong in ["--rounds=0", "--level=23", "file"] {
            assert!(Cli::try_parse_from(["bench", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_directory_of_its_own_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().join("work");
        empty(&work).unwrap();
        fs_err::write(work.join("left-over"), "").unwrap();
        empty(&work).unwrap();
        assert!(!work.join("left-over").exists());

        let foreign = directory.path().join("foreign");
        fs_err::create_dir(&foreign).unwrap();
        fs_err::write(foreign.join("file"), "").unwrap();
        let error = empty(&foreign).unwrap_err().to_string();
        assert!(
            error.contains("hint: name a directory with `--work`"),
            "{error}"
        );
        assert!(foreign.join("file").exists());
    }
}
