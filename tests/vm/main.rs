//! Virtual machines: a real systemd, an unprivileged user, real programs, no network beyond.
//!
//! `cargo test -p builder --test vm` makes a machine out of Debian packages (kept for the next time), boots it with a bundle in
//! it and runs the scenarios of `tests/vm/scenarios/` as the user. The machine runs under QEMU, with KVM where that
//! works and emulated otherwise. With `--kernel FILE`, a User Mode Linux kernel (`linux.uml`), it runs as an ordinary process
//! instead, several times faster than emulation. Without `--bundle FILE` the bundle is made from the Debian channel. A
//! scenario says in its first lines which components a bundle must have for it, and how many machines; scenarios that need
//! other components are named and left out. `--newer FILE` is the bundle of a newer release, for those that need `newer-release`.
//! `--junit FILE` writes the results for other programs. `support::scenario` has the
//! lines that a scenario may contain.
//!
//! Scenarios for one machine share one. Those for several have machines of their own, on one network; the shared one is off
//! meanwhile, and is booted again for the next scenario that needs it.
//!
//! Needs root (a file system image is made), a Debian mirror in apt's configuration, and the packages
//! `mmdebstrap e2fsprogs openssh-client`, with `qemu-system-x86 cpio` for QEMU, and `iproute2` for User Mode Linux and for
//! several machines, which take 3 GiB of memory each. That kernel needs these built in: cgroup v2, overlay, fuse, tun, bridge,
//! veth, vxlan, nftables, iptables, and the vector network device.

// A test that cannot go on has failed: it panics.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub
)]

mod broken;
mod engine;
mod guest;
mod image;
mod junit;
mod machines;
mod network;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use support::scenario::{Release, Scenario};

use engine::Engine;
use junit::Case;
use machines::{Bundles, Machines};

/// What goes wrong in here is told in one sentence.
type Result<T> = std::result::Result<T, String>;

/// The suite the machine is made of. Its kernel and systemd are those of current distributions.
const SUITE: &str = "trixie";

struct Options {
    bundle: Option<PathBuf>,
    newer: Option<PathBuf>,
    kernel: Option<PathBuf>,
    junit: Option<PathBuf>,
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
        newer: None,
        kernel: None,
        junit: None,
        only: None,
        keep: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--bundle" => options.bundle = Some(PathBuf::from(value()?)),
            "--newer" => options.newer = Some(PathBuf::from(value()?)),
            "--kernel" => options.kernel = Some(PathBuf::from(value()?)),
            "--junit" => options.junit = Some(PathBuf::from(value()?)),
            "--only" => options.only = Some(value()?),
            "--keep" => options.keep = true,
            other => {
                return Err(format!(
                    "unknown argument `{other}`: there are `--bundle FILE`, `--newer FILE`, `--kernel FILE`, `--junit FILE`, `--only SCENARIO,…` and `--keep` (leave the machine running)"
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
    let mut components = components(&bundle)?;
    if options.newer.is_some() {
        components.insert(Release::NEWER.to_owned());
    }
    let newer = options.newer.clone();
    let bundles = Bundles { bundle, newer };
    let mut scenarios = Scenario::read_all(&root.join("tests/vm/scenarios"))?;
    scenarios.retain(|s| {
        options
            .only
            .as_ref()
            .is_none_or(|only| only.split(',').any(|part| s.name.contains(part)))
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
    let machines = || -> Result<Machines> {
        let engine = Engine::new(options.kernel.as_deref())?;
        Ok(Machines::new(&image, engine, &bundles, &work))
    };
    let mut run = Run::of(&scenarios, &components, options.only.is_some(), machines()?);
    if run.failed() > 0 && run.machines.ended() {
        // Seen with emulated processors: the guest's kernel panics at random. That is not what is being tested.
        eprintln!("the machine itself ended: once more, from the beginning");
        drop(run);
        run = Run::of(&scenarios, &components, options.only.is_some(), machines()?);
    }
    run.finish(options)
}

/// The results of the scenarios.
struct Run {
    machines: Machines,
    cases: Vec<Case>,
}

impl Run {
    /// Runs the scenarios one after the other, until one fails: later ones build on earlier ones. `named` says whether they were
    /// asked for by name.
    fn of(
        scenarios: &[Scenario],
        components: &BTreeSet<String>,
        named: bool,
        mut machines: Machines,
    ) -> Self {
        let mut cases = Vec::new();
        for scenario in scenarios {
            let name = scenario.name.clone();
            if let Some(why) = scenario.unfit(components, named) {
                cases.push(Case::left_out(name, why));
                continue;
            }
            eprintln!("── {name}");
            let result = machines.ready_for(scenario.guests);
            // The boot is not part of what a scenario takes.
            let started = Instant::now();
            let result = result.and_then(|()| machines.run(scenario));
            let failed = result.is_err();
            cases.push(Case::run(name, started.elapsed(), result));
            if failed {
                break;
            }
        }
        Self { machines, cases }
    }

    fn failed(&self) -> usize {
        self.cases.iter().filter(|case| case.has_failed()).count()
    }

    /// Prints the table, and ends the machine unless it is to be kept.
    fn finish(self, options: &Options) -> Result<()> {
        let failed = self.failed();
        println!("\n{:34} {:>8}  result", "scenario", "seconds");
        self.cases.iter().for_each(|case| println!("{case}"));
        let passed = self.cases.iter().filter(|case| case.has_passed()).count();
        println!("\n{passed} passed, {failed} failed");
        if let Some(file) = &options.junit {
            std::fs::write(file, junit::document(&self.cases))
                .map_err(|e| format!("{}: {e}", file.display()))?;
        }
        if options.keep {
            self.machines.leave_running();
        }
        if failed > 0 {
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
