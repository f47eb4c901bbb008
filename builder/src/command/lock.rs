//! `builder lock`.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use stub::bundle::{Arch, Name};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use super::inputs::{self, Inputs, arch};
use crate::cache::Cache;
use crate::http::Client;
use crate::lock::newer::Newer;
use crate::lock::update::{Tools, Update};
use crate::lockfile::Lockfile;
use crate::source::{self, Endpoints};
use crate::wording::counted;
use crate::{lock, recipe};

/// Arguments of `builder lock`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct LockArgs {
    /// Find the newest allowed versions, and write them into the lockfile. Components that are released together are updated together. If the variable `GITHUB_TOKEN` is set, the builder sends it to GitHub's API, which then answers more requests, and to no other host
    #[arg(long)]
    pub update: bool,
    /// Compare the recipes with the lockfile, as `builder lock` does without options, and list unpinned downloads and differences (exit code 3). If there are none, ask upstreams, too, and list newer versions (exit code 8); with `--offline`, ask nobody. Change nothing
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Show the changes that `--update` would make, and do not write the lockfile
    #[arg(long, requires = "update")]
    pub dry_run: bool,
    /// Take only versions that were released at least this many days ago. A version whose date is unknown is taken
    #[arg(long, value_name = "DAYS", default_value_t = 3)]
    pub min_age: u16,
    /// Replace a locked version by an older one if the older one is the newest that upstream still has
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Replace a digest even if the evidence for the new one is weaker
    #[arg(long)]
    pub allow_weaker_evidence: bool,
    /// Look only at these components, and at those that are released together with them
    #[arg(value_name = "NAME")]
    pub names: Vec<Name>,
    /// Take Debian packages for this processor: `x86_64` or `aarch64` [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
    /// Take Debian packages from this suite if their recipe names none [default: this machine's]
    #[arg(long, value_name = "SUITE")]
    pub debian_suite: Option<Name>,
}

/// The result of `builder lock` without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nothing else to comparison.
    Done,
    /// Upstreams have newer versions than the lockfile.
    Newer,
}

/// `builder lock`: checks by default, asks upstreams with `--check`, resolves with `--update`.
pub(crate) fn run(inputs: &Inputs, args: &LockArgs, progress: &Progress) -> Result<End> {
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
        let comparison = lock::check::check(&recipes, &lockfile)?;
        if !args.check || inputs.offline || comparison.verdict().is_err() {
            inputs::print(inputs, &comparison.to_string(), &comparison)?;
            return comparison.verdict().map(|()| End::Done);
        }
        let cache = Cache::of_user()?;
        let tools = tools(&client, &cache, progress);
        let newer = update.newer(&recipes, &lockfile, tools)?;
        let text = format!("{comparison}\n{}", lock::newer::table(&newer));
        inputs::print(
            inputs,
            &text,
            &Checked {
                comparison: &comparison,
                newer: &newer,
            },
        )?;
        return Ok(if newer.is_empty() {
            End::Done
        } else {
            End::Newer
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
        "not written (`--dry-run`)".to_owned()
    } else {
        new.write(&path)?;
        counted(new.components.len(), "component")
    };
    let changes = lock::changes::changes(&old, &new);
    let text = lock::changes::table(&changes);
    let text = format!("{text}{}: {done}\n", path.display());
    inputs::print(inputs, &text, &changes)?;
    new.require_pinned(&args.names)?;
    Ok(End::Done)
}

/// The output of `builder lock --check --json`.
#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    comparison: &'a lock::check::Comparison,
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
