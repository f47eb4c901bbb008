//! The demo: runs the whole pipeline on packages from a Debian mirror.
//!
//! `cargo run --release -- demo` compiles the builder, which then has cargo compile and start this program. Every step runs
//! the real programs in processes of their own: the builder, and then the bundle it made.

mod channel;
mod etcd;
mod hostile;
mod image;
mod pulled;
mod push;
mod registry;
mod report;
mod run;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use builder::command::inputs::{self, Inputs};
use builder::workspace::Workspace;
use clap::Parser;
use stub::bundle::{Arch, Bundle};
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::{child, files, output};

use self::hostile::Hostile;
use self::report::{Report, Step};
use self::run::{copy_tree, first_line, last_line, locked};

/// Programs of the Debian channel and how to ask each for its version.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("etcd", &["--version"]),
    ("containerd", &["--version"]),
    ("kubectl", &["version", "--client"]),
    ("crun", &["--version"]),
];

/// Run the whole pipeline on packages from a Debian mirror
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "builder demo", after_help = Kind::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    inputs: Inputs,
    /// Work in this directory, and leave the bundle there [default: `demo` in the target directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Compress at this level
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
}

fn main() -> ExitCode {
    output::main(|cli: Cli| {
        if cli.inputs.verbose {
            child::show();
        }
        run(&cli, &Progress::stderr())
    })
}

/// Runs the demo. The bundle stays in the demo's directory; everything else it made there is replaced by the next run.
fn run(cli: &Cli, progress: &Progress) -> Result<()> {
    let inputs = &cli.inputs;
    if inputs.recipes.is_some() || inputs.lockfile.is_some() {
        let what = "the demo has recipes and lockfiles of its own";
        return Err(Error::new(Kind::Usage, what).hint("leave out `--recipes` and `--lockfile`"));
    }
    let workspace = Workspace::find(inputs.workspace.as_deref())?;
    let arch = Arch::host().ok_or_else(|| {
        Error::new(
            Kind::Host,
            "there are no bundles for this machine's architecture",
        )
    })?;
    let directory = cli
        .directory
        .clone()
        .unwrap_or_else(|| workspace.target().join("demo"));
    // The builds run in directories of their own.
    let directory = std::path::absolute(directory)?;
    let mut demo = Demo {
        inputs,
        progress,
        builder: beside()?,
        workspace,
        directory,
        arch,
        level: cli.level,
        steps: Vec::new(),
    };
    let report = demo.run()?;
    inputs::print(inputs, &report.table(), &report)
}

/// The builder's program, which cargo has compiled into the same directory as this one.
fn beside() -> Result<PathBuf> {
    let builder = std::env::current_exe()?.with_file_name("builder");
    if builder.is_file() {
        return Ok(builder);
    }
    Err(Error::new(Kind::Usage, "the builder is not compiled")
        .expected(builder.display())
        .hint("start the demo with `cargo run --release -- demo`"))
}

struct Demo<'a> {
    inputs: &'a Inputs,
    progress: &'a Progress,
    /// The builder's program.
    builder: PathBuf,
    workspace: Workspace,
    directory: PathBuf,
    arch: Arch,
    level: i32,
    steps: Vec<Step>,
}

impl Demo<'_> {
    fn run(&mut self) -> Result<Report> {
        let lockfile = self.directory.join("lockfile.json");
        let bundle = self.directory.join(format!("usernetes-{}", self.arch));
        let other = self
            .directory
            .join("rebuilt")
            .join(format!("usernetes-{}", self.arch));
        let home = self.directory.join("home");
        for scratch in [
            &home,
            &self.directory.join("elsewhere"),
            &self.directory.join("rebuilt"),
            &self.directory.join("registry"),
        ] {
            files::remove_tree(scratch)?;
        }

        let recipes = self.workspace.root().join("tests/debian/recipes");
        let mut lock = self.builder(&lockfile);
        lock.args(["lock", "--update", "--recipes"]).arg(&recipes);
        let offline = self.inputs.offline;
        self.step("lock the Debian channel", || {
            locked(&mut lock, &lockfile, offline)
        })?;
        let mut fetch = self.builder(&lockfile);
        fetch.arg("fetch");
        self.step("fetch", || last_line(&mut fetch))?;

        // Once here, as `builder build` does it, so that a later build finds the compiled stub. Once from a copy of the
        // sources, with nothing else in common: it has its own cache and compresses everything again, its downloads
        // coming from the first one's cache as a mirror; its cargo has a new home, and all its settings are set to
        // something else.
        let cache = stub::paths::cache_dir()?;
        let elsewhere = self.directory.join("elsewhere");
        let copy = elsewhere.join("in another place");
        let (sources, left_out) = (self.workspace.root(), [".git".as_ref(), "target".as_ref()]);
        copy_tree(sources, &copy, &left_out)?;
        self.build("build", &self.here(), &lockfile, &bundle)?;
        let site = Site {
            checkout: copy,
            target: elsewhere.join("compiled"),
            cache: Some(elsewhere.join("cache")),
            mirror: Some(cache),
            umask: "077",
            hostile: Some(Hostile::around(&elsewhere)?),
        };
        self.build("build again elsewhere", &site, &lockfile, &other)?;
        let (one, two) = (Bundle::open(&bundle)?, Bundle::open(&other)?);
        self.step("compare", || {
            builder::verify::same_bytes(&one, &two)?;
            Ok("the same bytes".to_owned())
        })?;

        self.bundle("install", &bundle, &home, &["install", "--start="])?;
        self.bundle("verify the file", &bundle, &home, &["verify"])?;
        let bin = home.join(".local/share/usernetes/current/bin");
        self.bundle(
            "verify what is installed",
            &bin.join("usernetes"),
            &home,
            &["verify"],
        )?;
        for (program, arguments) in PROGRAMS {
            self.bundle(
                &format!("run {program}"),
                &bin.join(program),
                &home,
                arguments,
            )?;
        }
        self.step("check the units", || units(&home))?;
        self.step("etcd with our certificates", || {
            etcd::health(&home, |program| in_home(program, &home))
        })?;
        self.bundle("install again", &bundle, &home, &["install", "--start="])?;
        self.image(&lockfile, &home)?;
        self.step("remove", || {
            files::remove_tree(&home)?;
            Ok(String::new())
        })?;
        for scratch in ["elsewhere", "rebuilt"] {
            files::remove_tree(&self.directory.join(scratch))?;
        }

        let (sha256, size) = Sha256::of_reader(fs_err::File::open(&bundle)?)?;
        let manifest = one.manifest();
        Ok(Report {
            bundle,
            sha256,
            size,
            components: manifest.components.len(),
            unpacked: manifest
                .components
                .iter()
                .map(|c| manifest.unpacked_size(c))
                .sum(),
            steps: std::mem::take(&mut self.steps),
        })
    }

    /// Runs a step, and notes its duration and result.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
        self.progress.line(format!("── {name}"));
        let started = Instant::now();
        let outcome = work().map_err(|e| e.about(format!("demo: {name}")))?;
        self.steps.push(Step {
            name: name.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            outcome,
        });
        Ok(())
    }

    /// The builder, to be run in a process of its own with this lockfile and otherwise the demo's inputs.
    fn builder(&self, lockfile: &Path) -> Command {
        self.builder_with(&Inputs {
            lockfile: Some(lockfile.to_owned()),
            json: false,
            ..self.inputs.clone()
        })
    }

    /// The same for commands that need no network but this machine's own registry.
    fn local_builder(&self, lockfile: &Path) -> Command {
        self.builder_with(&Inputs {
            lockfile: Some(lockfile.to_owned()),
            json: false,
            offline: false,
            ..self.inputs.clone()
        })
    }

    fn builder_with(&self, inputs: &Inputs) -> Command {
        let mut command = Command::new(&self.builder);
        command.args(inputs.arguments());
        command
    }

    /// The checkout that the demo was started in, with the user's own cache.
    fn here(&self) -> Site {
        Site {
            checkout: self.workspace.root().to_owned(),
            target: self.workspace.target(),
            cache: None,
            mirror: None,
            umask: "022",
            hostile: None,
        }
    }

    /// A step that builds the bundle at a site.
    fn build(&mut self, name: &str, site: &Site, lockfile: &Path, output: &Path) -> Result<()> {
        // The umask is inherited, and only a shell can set it for the process that follows it.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "umask \"$0\" && exec \"$@\"", site.umask])
            .arg(&self.builder);
        // Only the first build may download the crates of the stub, some of which the builder is not made of.
        if self.inputs.offline || site.hostile.is_some() {
            command.arg("--offline");
        }
        if self.inputs.verbose {
            command.arg("--verbose");
        }
        command.arg("--lockfile").arg(lockfile);
        if let Some(mirror) = &site.mirror {
            command.arg("--mirror").arg(mirror);
        }
        if let Some(cache) = &site.cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        command
            .args(["build", "--level", &self.level.to_string(), "--output"])
            .arg(output);
        command
            .current_dir(&site.checkout)
            .env("CARGO_TARGET_DIR", &site.target);
        if let Some(hostile) = &site.hostile {
            hostile.surround(&mut command);
        }
        self.step(name, || last_line(&mut command))
    }

    /// A step that runs the bundle, or a program of it, in an environment with nothing else.
    fn bundle(
        &mut self,
        name: &str,
        program: &Path,
        home: &Path,
        arguments: &[&str],
    ) -> Result<()> {
        fs_err::create_dir_all(home)?;
        let mut command = in_home(program, home);
        command.args(arguments);
        self.step(name, || first_line(&mut command))
    }
}

/// A command for a program of the bundle, in an environment with nothing else.
fn in_home(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home);
    // Debian's C programs look for libraries that a machine may lack; the channel brings them.
    command.env(
        "LD_LIBRARY_PATH",
        home.join(".local/share/usernetes/current/lib"),
    );
    command
}

/// Has systemd look at the units that were written, where it is there to look.
fn units(home: &Path) -> Result<String> {
    let directory = home.join(".config/systemd/user");
    let mut files = Vec::new();
    for entry in fs_err::read_dir(&directory)? {
        files.push(entry?.path());
    }
    files.retain(|f| f.is_file());
    files.sort();
    let count = files.len();
    let runtime = tempfile::tempdir()?;
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(["--user", "verify"])
        .args(&files)
        .env("XDG_RUNTIME_DIR", runtime.path());
    match child::try_run(&mut analyze)? {
        Some(ended) if ended.status.success() && ended.said().is_empty() => {
            Ok(format!("systemd-analyze verify accepts all {count} units"))
        }
        Some(ended) => Err(
            Error::new(Kind::Input, "systemd-analyze verify rejects the units")
                .detail("systemd-analyze", ended.said()),
        ),
        None => Ok(format!(
            "{count} units, not checked: this machine has no systemd-analyze"
        )),
    }
}

/// The surroundings of a build.
struct Site {
    checkout: PathBuf,
    /// Where it compiles.
    target: PathBuf,
    /// A cache of its own.
    cache: Option<PathBuf>,
    /// The mirror that fills the cache.
    mirror: Option<PathBuf>,
    umask: &'static str,
    /// Variables, settings and programs that must not change the result.
    hostile: Option<Hostile>,
}
