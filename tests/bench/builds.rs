//! Builds: with an empty cache, with nothing changed, and with one component bumped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use builder::workspace::Workspace;
use serde::Serialize;
use stub::bundle::{Bundle, Name};
use stub::child;
use stub::error::{Context as _, Result};
use stub::progress::Progress;

use crate::bump::Bump;
use crate::times::{Times, seconds};

/// The builder and its inputs.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    /// Its program.
    pub(crate) program: &'a Path,
    pub(crate) workspace: &'a Workspace,
    pub(crate) lockfile: &'a Path,
    pub(crate) recipes: Option<&'a Path>,
    /// All if there are none.
    pub(crate) components: &'a [Name],
    pub(crate) level: i32,
    pub(crate) stub: Option<&'a Path>,
    /// A cache or mirror. Nothing is written there.
    pub(crate) downloads: &'a Path,
    /// Where the benchmark works.
    pub(crate) work: &'a Path,
}

/// What builds took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Builds {
    /// The downloads are there, and the stub is compiled; everything is taken out of the downloads and compressed.
    pub(crate) cold_seconds: f64,
    /// Nothing has changed.
    pub(crate) warm: Times,
    /// One file of a component has changed. None if no component can be bumped.
    pub(crate) bumped: Option<Bumped>,
    /// Whether a stub was given, so that none was compiled or looked at in any of these builds.
    pub(crate) stub_was_given: bool,
}

/// What a build after a bump took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bumped {
    /// The component.
    pub(crate) component: Name,
    /// The bytes of its file that has changed.
    pub(crate) bytes: u64,
    /// The whole build.
    pub(crate) build: Times,
    /// To compress that file alone.
    pub(crate) compress: Times,
    /// The difference.
    pub(crate) rest: Times,
}

impl Builder<'_> {
    /// The bundle that is measured.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.work.join("usernetes")
    }

    /// Builds it, and measures that.
    pub(crate) fn measure(&self, rounds: usize, progress: &Progress) -> Result<Builds> {
        progress.line("── fetch, and compile the stub");
        let mut fetch = self.command(self.lockfile);
        fetch.arg("fetch");
        self.select(&mut fetch);
        run(&mut fetch)?;
        self.compile_stub()?;
        progress.line("── build with an empty cache");
        let cold_seconds = self.build(self.lockfile, &self.bundle())?;
        progress.line("── build with nothing changed");
        let other = self.work.join("built-again");
        let warm: Result<Vec<f64>> = (0..rounds)
            .map(|_| self.build(self.lockfile, &other))
            .collect();
        let warm = Times::of(warm?);
        let bumped = self.measure_bumps(rounds, &other, progress)?;
        fs_err::remove_file(&other)?;
        Ok(Builds {
            cold_seconds,
            warm,
            bumped,
            stub_was_given: self.stub.is_some(),
        })
    }

    fn measure_bumps(
        &self,
        rounds: usize,
        output: &Path,
        progress: &Progress,
    ) -> Result<Option<Bumped>> {
        let path = self.bundle();
        let bundle = Bundle::open(&path).about(|| path.display())?;
        let Some(bump) = Bump::choose(&bundle)? else {
            progress.line("no component can be bumped alone");
            return Ok(None);
        };
        progress.line(format!("── build with another {}", bump.component()));
        let lockfile = self.work.join("bumped.json");
        let (mut build, mut compress, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            bump.write(self.lockfile, &lockfile, &self.cache(), round)?;
            let all = self.build(&lockfile, output)?;
            let part = bump.compress(output, self.level)?;
            build.push(all);
            compress.push(part);
            rest.push(all - part);
        }
        Ok(Some(Bumped {
            component: bump.component().clone(),
            bytes: bump.bytes(),
            build: Times::of(build),
            compress: Times::of(compress),
            rest: Times::of(rest),
        }))
    }

    /// The benchmark's own cache, which is empty at first.
    fn cache(&self) -> PathBuf {
        self.work.join("cache/usernetes")
    }

    /// Compiles the stub, or finds that there is nothing to compile: by a build of one component in another cache.
    fn compile_stub(&self) -> Result<()> {
        if self.stub.is_some() {
            return Ok(());
        }
        let lockfile = builder::lockfile::Lockfile::read(self.lockfile)?;
        let first = self
            .components
            .first()
            .or(lockfile.components.keys().next());
        let mut command = self.command(self.lockfile);
        command
            .env("XDG_CACHE_HOME", self.work.join("other-cache"))
            .args(["build", "--level=1", "--output"])
            .arg(self.work.join("stub-only"));
        if let Some(first) = first {
            command.arg("--components").arg(first.as_str());
        }
        run(&mut command)
    }

    /// Builds, and gives the seconds that it took.
    fn build(&self, lockfile: &Path, output: &Path) -> Result<f64> {
        let mut command = self.command(lockfile);
        command.args(["build", "--level", &self.level.to_string(), "--output"]);
        command.arg(output);
        if let Some(stub) = self.stub {
            command.arg("--stub").arg(stub);
        }
        self.select(&mut command);
        seconds(&mut command)
    }

    /// Names the components.
    fn select(&self, command: &mut Command) {
        if !self.components.is_empty() {
            let names: Vec<_> = self.components.iter().map(Name::as_str).collect();
            command.arg("--components").arg(names.join(","));
        }
    }

    /// The builder, with its progress on stderr.
    fn command(&self, lockfile: &Path) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("XDG_CACHE_HOME", self.work.join("cache"))
            .current_dir(self.workspace.root())
            .stderr(Stdio::inherit())
            .args(["--offline", "--json", "--workspace"])
            .arg(self.workspace.root())
            .arg("--mirror")
            .arg(self.downloads)
            .arg("--lockfile")
            .arg(lockfile);
        if let Some(recipes) = self.recipes {
            command.arg("--recipes").arg(recipes);
        }
        command
    }
}

fn run(command: &mut Command) -> Result<()> {
    child::run(command.stdin(Stdio::null()))?
        .success()
        .map(drop)
}
