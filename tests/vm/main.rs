//! The virtual machine: a real systemd, an unprivileged user, real programs, no network.
//!
//! `cargo test -p builder --test vm` makes the machine out of Debian packages (kept for the next time), boots
//! it under software emulation, copies a bundle in and runs the scenarios of `tests/vm/scenarios/` as the user.
//! Without `--bundle FILE` the bundle is made from the Debian channel. A scenario says in its first lines what a
//! bundle must hold for it; those that need more than this bundle has are named and left out.
//!
//! Needs root (a file system image is made), a Debian mirror in apt's configuration, and the packages
//! `mmdebstrap qemu-system-x86 e2fsprogs cpio openssh-client`.

// A test that cannot go on has failed: it panics.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub
)]

mod guest;
mod image;
mod scenario;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use guest::Guest;
use scenario::Scenario;

/// What goes wrong in here is told in one sentence.
type Result<T> = std::result::Result<T, String>;

/// The suite the machine is made of. Its kernel and systemd are those of current distributions.
const SUITE: &str = "trixie";

struct Options {
    bundle: Option<PathBuf>,
    only: Option<String>,
    keep: bool,
}

fn main() -> ExitCode {
    match options().and_then(|o| run(&o)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options {
        bundle: None,
        only: None,
        keep: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--bundle" => options.bundle = Some(PathBuf::from(value()?)),
            "--only" => options.only = Some(value()?),
            "--keep" => options.keep = true,
            other => {
                return Err(format!(
                    "unknown argument `{other}`: there are `--bundle FILE`, `--only SCENARIO` and `--keep` (leave the machine running)"
                ));
            }
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("no workspace")?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |d| root.join(d));
    let work = target.join("vm");
    std::fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;

    let bundle = match &options.bundle {
        Some(file) => file.clone(),
        None => debian_bundle(root, &work)?,
    };
    let components = components(&bundle)?;
    let mut scenarios = Scenario::read_all(&root.join("tests/vm/scenarios"))?;
    scenarios.retain(|s| {
        options
            .only
            .as_ref()
            .is_none_or(|only| s.name.contains(only.as_str()))
    });
    if scenarios.is_empty() {
        return Err("no scenario of that name".to_owned());
    }

    let image = image::prepare(
        SUITE,
        &stub::paths::cache_dir()
            .map_err(|e| e.to_string())?
            .join("vm"),
    )?;
    let mut run = Run::of(
        &scenarios,
        &components,
        &bundle,
        Guest::boot(&image, &work)?,
    )?;
    if run.guest_ended() {
        // Seen with emulated processors: the guest's kernel panics at random. That is not what is being tested.
        eprintln!("the machine itself ended: once more, from the beginning");
        run = Run::of(
            &scenarios,
            &components,
            &bundle,
            Guest::boot(&image, &work)?,
        )?;
    }
    run.finish(options.keep)
}

/// What became of the scenarios in one machine.
struct Run {
    guest: Guest,
    rows: Vec<String>,
    passed: usize,
    failed: usize,
}

impl Run {
    /// Runs the scenarios one after the other, until one fails: later ones build on earlier ones.
    fn of(
        scenarios: &[Scenario],
        components: &BTreeSet<String>,
        bundle: &Path,
        mut guest: Guest,
    ) -> Result<Self> {
        guest.copy(bundle, "usernetes-x86_64")?;
        let (mut rows, mut passed, mut failed) = (Vec::new(), 0, 0);
        for scenario in scenarios {
            let name = &scenario.name;
            if let Some(why) = scenario.unfit(components) {
                rows.push(format!("{name:34} {:>8}  left out: {why}", ""));
                continue;
            }
            eprintln!("── {name}");
            let started = Instant::now();
            let outcome = scenario.run(&mut guest);
            let seconds = started.elapsed().as_secs_f64();
            if let Err(why) = outcome {
                rows.push(format!("{name:34} {seconds:>8.1}  FAILED: {why}"));
                failed += 1;
                break;
            }
            rows.push(format!("{name:34} {seconds:>8.1}  passed"));
            passed += 1;
        }
        Ok(Self {
            guest,
            rows,
            passed,
            failed,
        })
    }

    fn guest_ended(&mut self) -> bool {
        self.failed > 0 && !self.guest.running()
    }

    /// Prints the table, and ends the machine unless it is to be kept.
    fn finish(mut self, keep: bool) -> Result<()> {
        if keep {
            eprintln!("the machine is left running: {}", self.guest.ssh_command());
            self.guest.leave_running();
        }
        println!("\n{:34} {:>8}  outcome", "scenario", "seconds");
        self.rows.iter().for_each(|row| println!("{row}"));
        println!("\n{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 {
            return Err("a scenario failed; its output is above".to_owned());
        }
        Ok(())
    }
}

/// The bundle of the Debian channel, for the machine's suite.
fn debian_bundle(root: &Path, work: &Path) -> Result<PathBuf> {
    let lockfile = work.join("lockfile.json");
    let bundle = work.join("usernetes-x86_64");
    let recipes = root.join("tests/debian/recipes");
    let steps: [&[&str]; 2] = [
        &["lock", "--update", "--debian-suite", SUITE],
        &["build", "--level", "3", "--arch", "x86_64"],
    ];
    for (step, arguments) in steps.into_iter().enumerate() {
        let mut builder = Command::new(env!("CARGO_BIN_EXE_builder"));
        builder
            .arg("--lockfile")
            .arg(&lockfile)
            .arg("--recipes")
            .arg(&recipes)
            .args(arguments)
            .current_dir(root);
        if step == 1 {
            builder.arg("--output").arg(&bundle);
        }
        check(&mut builder)?;
    }
    Ok(bundle)
}

/// The names of a bundle's components.
fn components(bundle: &Path) -> Result<BTreeSet<String>> {
    let bundle = stub::bundle::Bundle::open(bundle).map_err(|e| e.to_string())?;
    Ok(bundle
        .manifest()
        .components
        .iter()
        .map(|c| c.name.to_string())
        .collect())
}

/// Runs a program whose failure ends everything.
fn check(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|e| format!("cannot run {}: {e}", command.get_program().display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "`{}` failed: {status}",
            command.get_program().display()
        ))
    }
}
