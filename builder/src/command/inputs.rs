//! The arguments that every command has, and the steps that several commands share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use stub::bundle::{Arch, Name};
use stub::error::{Error, Kind, Result};
use stub::output;
use stub::paths::At as _;
use stub::progress::Progress;

use crate::cache::Cache;
use crate::http::Client;
use crate::lockfile::Lockfile;
use crate::pack::{self, head::Head};
use crate::workspace::Workspace;
use crate::{debian, fetch, mirror};

/// The inputs of a build. Every command takes these arguments.
#[derive(Debug, Clone, Args)]
pub struct Inputs {
    /// Build from this checkout [default: the one that contains the current directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Read the recipes in this directory [default: `recipes` in the checkout]
    #[arg(long, global = true, value_name = "DIR")]
    pub recipes: Option<PathBuf>,
    /// Use this lockfile [default: `lockfile.json` in the checkout]
    #[arg(long, global = true, value_name = "FILE")]
    pub lockfile: Option<PathBuf>,
    /// Look for downloads here first: a directory that `builder mirror export` has made, a copy of a cache, or the web address of one of these
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub mirror: Option<String>,
    /// Do not use the network. Every download must be in the cache, or in a directory that `--mirror` names
    #[arg(long, global = true)]
    pub offline: bool,
    /// Take Debian packages from this archive [default: the one that this machine's apt uses]
    #[arg(long, global = true, value_name = "URL")]
    pub debian_archive: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Show each program that the builder runs, with its arguments, on stderr
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Inputs {
    /// The checkout: the one named, or the one around the current directory.
    pub fn workspace(&self) -> Result<Workspace> {
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

    /// The arguments that give these inputs to another process.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let path = |path: &Option<PathBuf>| path.clone().map(OsString::from);
        let text = |text: &Option<String>| text.clone().map(OsString::from);
        let values = [
            ("--workspace", path(&self.workspace)),
            ("--recipes", path(&self.recipes)),
            ("--lockfile", path(&self.lockfile)),
            ("--mirror", text(&self.mirror)),
            ("--debian-archive", text(&self.debian_archive)),
        ];
        let switches = [
            ("--offline", self.offline),
            ("--json", self.json),
            ("--verbose", self.verbose),
        ];
        let switches = switches.into_iter().filter(|(_, on)| *on);
        values
            .into_iter()
            .filter_map(|(name, value)| Some([name.into(), value?]))
            .flatten()
            .chain(switches.map(|(name, _)| name.into()))
            .collect()
    }
}

/// Selects a part of the lockfile.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Select the files for this processor: `x86_64` or `aarch64` [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
    /// Select only these components, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub components: Vec<Name>,
}

/// The architecture named, or this machine's.
pub(super) fn arch(named: Option<Arch>) -> Result<Arch> {
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

/// Downloads the files that the selection needs and the cache lacks.
pub(super) fn fill_cache(
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
pub(super) fn head(
    inputs: &Inputs,
    arch: Arch,
    named: Option<&Path>,
    progress: &Progress,
) -> Result<Head> {
    match named {
        Some(program) => Head::named(program, arch),
        None => Head::compiled(&inputs.workspace()?, arch, inputs.offline, progress),
    }
}

/// Prints a command's result on stdout: the text, or with `--json` the value. A closed pipe is no error.
pub fn print(inputs: &Inputs, text: &str, value: &impl Serialize) -> Result<()> {
    let text = if inputs.json {
        serde_json::to_string_pretty(value)
            .map_err(|e| Error::new(Kind::Failed, format!("cannot print the result: {e}")))?
            + "\n"
    } else {
        text.to_owned()
    };
    output::data(&text)
}
