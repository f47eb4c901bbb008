//! What the commands do, in the words of the modules that know how.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use stub::bundle::{Arch, Bundle, Name};
use stub::error::{Error, Kind, Result};
use stub::paths::At as _;
use stub::progress::{Progress, bytes};
use stub::{output, sbom, signature};

use crate::cache::Cache;
use crate::cli::{
    self, BuildArgs, Inputs, LockArgs, OutputFormat, SbomArgs, Selection, VerifyArgs,
};
use crate::http::Client;
use crate::lock::newer::Newer;
use crate::lock::update::{Tools, Update};
use crate::lockfile::Lockfile;
use crate::pack::{self, head::Head};
use crate::source::{self, Endpoints};
use crate::workspace::Workspace;
use crate::{debian, fetch, lock, mirror, recipe, verify};

impl Inputs {
    fn workspace(&self) -> Result<Workspace> {
        Workspace::find(self.workspace.as_deref())
    }

    /// The lockfile's path: the one named, or the checkout's.
    pub(crate) fn lockfile_path(&self) -> Result<PathBuf> {
        self.lockfile
            .clone()
            .map_or_else(|| Ok(self.workspace()?.lockfile()), Ok)
    }

    /// The recipes' directory: the one named, or the checkout's.
    pub(crate) fn recipes_path(&self) -> Result<PathBuf> {
        self.recipes
            .clone()
            .map_or_else(|| Ok(self.workspace()?.recipes()), Ok)
    }
}

/// The architecture named, or this machine's.
fn arch(named: Option<Arch>) -> Result<Arch> {
    named.or_else(Arch::host).ok_or_else(|| {
        Error::new(
            Kind::Usage,
            format!(
                "there are no bundles for this machine's architecture, {}",
                std::env::consts::ARCH
            ),
        )
        .hint("name another one with `--arch`")
    })
}

/// `builder fetch`: everything the lockfile pins, into the cache.
pub(crate) fn fetch(inputs: &Inputs, selection: &Selection, progress: &Progress) -> Result<()> {
    let lockfile = Lockfile::read(&inputs.lockfile_path()?)?;
    let summary = fill_cache(
        inputs,
        &lockfile,
        arch(selection.arch)?,
        &selection.components,
        &Cache::of_user()?,
        progress,
    )?;
    let text = format!(
        "{} files fetched ({}), {} were in the cache\n",
        summary.fetched,
        bytes(summary.bytes),
        summary.cached
    );
    cli::print(inputs, &text, &summary)
}

/// `builder build`: the cache is filled first, so that one command is enough.
pub(crate) fn build(inputs: &Inputs, args: &BuildArgs, progress: &Progress) -> Result<()> {
    let lockfile = Lockfile::read(&inputs.lockfile_path()?)?;
    let arch = arch(args.selection.arch)?;
    let extension = if args.format == OutputFormat::Tbz {
        ".tbz"
    } else {
        ""
    };
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("usernetes-{arch}{extension}")));
    let cache = Cache::of_user()?;
    fill_cache(
        inputs,
        &lockfile,
        arch,
        &args.selection.components,
        &cache,
        progress,
    )?;
    let order = pack::Order {
        lockfile: &lockfile,
        arch,
        only: &args.selection.components,
        level: args.level,
        head: head(inputs, arch, args.stub.as_deref(), progress)?,
        output: &output,
    };
    let report = match args.format {
        OutputFormat::Exe => pack::build(&order, &cache, progress)?,
        OutputFormat::Tbz => pack::build_tbz(&order, &cache, progress)?,
    };
    let text = format!(
        "{}\n{}  {}\n",
        report.table(),
        report.sha256,
        report.file.display()
    );
    cli::print(inputs, &text, &report)
}

/// `builder verify`: integrity, and on request whether the checkout makes the same bytes.
pub(crate) fn verify(inputs: &Inputs, args: &VerifyArgs, progress: &Progress) -> Result<()> {
    let (original, mut report) = verify::integrity(&args.file, progress)?;
    // Of the bytes that were just checked, even if something else has taken the file's name since.
    let origin =
        signature::check_bundle(&original, args.signature.as_deref(), args.key.as_deref())?;
    let mut text = format!(
        "{}: every byte is as its manifest says: {} components, {} unpacked\nbundle id {}\n{origin}\n",
        args.file.display(),
        report.components,
        bytes(report.unpacked),
        report.id
    );
    report.origin = Some(origin);
    if args.rebuild {
        rebuild(inputs, &original, progress)?;
        report.rebuilt = true;
        text += "built again from this checkout: the same bytes\n";
    }
    cli::print(inputs, &text, &report)
}

/// `builder sbom`.
pub(crate) fn sbom(args: &SbomArgs) -> Result<()> {
    let bundle = Bundle::open(&args.file)?;
    output::data(&sbom::document(
        bundle.manifest(),
        &bundle.id(),
        args.format,
    )?)
}

/// `builder mirror export`.
pub(crate) fn export(
    inputs: &Inputs,
    selection: &Selection,
    directory: &Path,
    progress: &Progress,
) -> Result<()> {
    let lockfile = Lockfile::read(&inputs.lockfile_path()?)?;
    let arch = arch(selection.arch)?;
    let cache = Cache::of_user()?;
    fill_cache(
        inputs,
        &lockfile,
        arch,
        &selection.components,
        &cache,
        progress,
    )?;
    let copying = progress.wait(format!("copy to {}", directory.display()));
    let exported = mirror::export(&lockfile, &[arch], &selection.components, &cache, directory)
        .map_err(|e| e.elsewhere("name a directory on another file system"))?;
    drop(copying);
    let text = format!(
        "{} files, {} in {}\n",
        exported.files,
        bytes(exported.bytes),
        directory.display()
    );
    cli::print(inputs, &text, &exported)
}

/// What `builder lock` found, where all went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing more to say.
    Done,
    /// Upstreams have newer versions than the lockfile.
    Newer,
}

/// `builder lock`: checks by default, asks upstreams with `--check`, resolves with `--update`.
pub(crate) fn lock(inputs: &Inputs, args: &LockArgs, progress: &Progress) -> Result<Outcome> {
    let directory = inputs.recipes_path()?;
    let recipes = recipe::read_all(&directory)?;
    let path = inputs.lockfile_path()?;
    let (client, endpoints) = (Client::new(), endpoints());
    let update = Update {
        names: &args.names,
        arch: arch(args.arch)?,
        debian_archive: inputs.debian_archive.as_deref(),
        debian_suite: args.debian_suite.as_ref(),
        directory: &directory,
        endpoints: &endpoints,
        now: SystemTime::now(),
        min_age: Duration::from_hours(24) * u32::from(args.min_age),
        allow_downgrade: args.allow_downgrade,
        allow_weaker_evidence: args.allow_weaker_evidence,
    };
    if !args.update {
        let lockfile = Lockfile::read(&path)?;
        let report = lock::check::check(&recipes, &lockfile)?;
        if !args.check || inputs.offline || report.verdict().is_err() {
            cli::print(inputs, &report.to_string(), &report)?;
            return report.verdict().map(|()| Outcome::Done);
        }
        let cache = Cache::of_user()?;
        let tools = tools(&client, &cache, progress);
        let newer = update.newer(&recipes, &lockfile, tools)?;
        let text = format!("{report}\n{}", lock::newer::table(&newer));
        cli::print(
            inputs,
            &text,
            &Checked {
                report: &report,
                newer: &newer,
            },
        )?;
        return Ok(if newer.is_empty() {
            Outcome::Done
        } else {
            Outcome::Newer
        });
    }
    if inputs.offline {
        return Err(Error::new(
            Kind::Usage,
            "`lock --update` asks upstreams, which `--offline` forbids",
        ));
    }
    let old = if path.exists() {
        Lockfile::read(&path)?
    } else {
        Lockfile::new()
    };
    let cache = Cache::of_user()?;
    let tools = tools(&client, &cache, progress);
    let updated = update.run(&recipes, &old, tools)?;
    for note in &updated.notes {
        progress.line(format!("note: {note}"));
    }
    let new = updated.lockfile;
    let done = if args.dry_run {
        "as it would be, not written".to_owned()
    } else {
        new.write(&path)?;
        format!("{} components", new.components.len())
    };
    let changes = lock::changes::changes(&old, &new);
    let text = lock::changes::table(&changes);
    let text = format!("{text}{}: {done}\n", path.display());
    cli::print(inputs, &text, &changes)?;
    new.require_pinned(&args.names)?;
    Ok(Outcome::Done)
}

/// What `builder lock --check --json` prints.
#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    report: &'a lock::check::Report,
    newer: &'a [Newer],
}

fn tools<'a>(client: &'a Client, cache: &'a Cache, progress: &'a Progress) -> Tools<'a> {
    Tools {
        client,
        cache,
        progress,
    }
}

/// The real upstreams, with the token of the environment.
fn endpoints() -> Endpoints {
    let token = std::env::var(source::GITHUB_TOKEN).ok();
    let token = token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    Endpoints {
        github_token: token,
        ..Endpoints::default()
    }
}

/// Downloads whatever the selection needs and the cache lacks.
fn fill_cache(
    inputs: &Inputs,
    lockfile: &Lockfile,
    arch: Arch,
    only: &[Name],
    cache: &Cache,
    progress: &Progress,
) -> Result<fetch::Summary> {
    pack::require_pinned(lockfile, arch, only)?;
    let mirror = inputs
        .mirror
        .as_deref()
        .map(mirror::Mirror::parse)
        .transpose()?;
    let options = fetch::Options {
        mirror,
        offline: inputs.offline,
        debian_base: &|| debian::apt::archive_base(inputs.debian_archive.as_deref()),
        client: &Client::new(),
    };
    fetch::fetch(lockfile, arch, only, cache, &options, progress).at(cache.root())
}

/// The stub named, once it has proven fit, or the checkout's, compiled.
fn head(inputs: &Inputs, arch: Arch, named: Option<&Path>, progress: &Progress) -> Result<Head> {
    match named {
        Some(program) => Head::named(program, arch),
        None => Head::compiled(&inputs.workspace()?, arch, inputs.offline, progress),
    }
}

/// Builds what a bundle says it was built from, and compares.
fn rebuild(inputs: &Inputs, original: &Bundle, progress: &Progress) -> Result<()> {
    let lockfile = Lockfile::read(&inputs.lockfile_path()?)?;
    let manifest = original.manifest();
    if lockfile.digest()? != manifest.lockfile {
        return Err(Error::new(Kind::Input, format!("{}: it was built from another lockfile", original.path().display()))
            .expected(format!("sha256 {}", manifest.lockfile))
            .found(format!("sha256 {}", lockfile.digest()?))
            .hint("check out the commit the bundle was built from, or name its lockfile with `--lockfile`"));
    }
    let only = verify::components(original);
    let cache = Cache::of_user()?;
    fill_cache(inputs, &lockfile, manifest.arch, &only, &cache, progress)?;
    let scratch = tempfile::tempdir().map_err(|e| {
        Error::from(e).elsewhere("set TMPDIR to a directory on another file system")
    })?;
    let order = pack::Order {
        lockfile: &lockfile,
        arch: manifest.arch,
        only: &only,
        level: manifest.level,
        head: head(inputs, manifest.arch, None, progress)?,
        output: &scratch.path().join("rebuilt"),
    };
    pack::build(&order, &cache, progress)?;
    let _comparing = progress.wait("compare");
    verify::same_bytes(original, &Bundle::open(order.output)?)
}
