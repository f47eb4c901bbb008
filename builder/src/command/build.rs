//! `builder build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stub::bundle::frame;
use stub::error::Result;
use stub::progress::Progress;

use super::inputs::{self, Inputs, Selection, arch, fill_cache, head};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::pack;

/// Arguments of `builder build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The part of the lockfile
    #[command(flatten)]
    pub selection: Selection,
    /// Write the result to this file [default: `usernetes-ARCH` or `usernetes-ARCH.tbz` in the current directory]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Compress at this level, from 1 to 22: 3 is fast, 19 makes a small file, 22 the smallest
    #[arg(long, default_value_t = frame::RELEASE_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Make a file of this kind
    #[arg(long, value_enum, default_value_t = OutputFormat::Exe)]
    pub format: OutputFormat,
    /// Put this statically linked program at the beginning of the bundle, instead of compiling the checkout's stub
    #[arg(long, value_name = "FILE")]
    pub stub: Option<PathBuf>,
}

/// The kinds of file that `builder build` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// One executable that unpacks itself
    Exe,
    /// An archive of the directory `usernetes/`, compressed with bzip2
    Tbz,
}

/// `builder build`: the cache is filled first, so that one command is enough.
pub(crate) fn run(inputs: &Inputs, args: &BuildArgs, progress: &Progress) -> Result<()> {
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
    let built = match args.format {
        OutputFormat::Exe => pack::build(&order, &cache, progress)?,
        OutputFormat::Tbz => pack::build_tbz(&order, &cache, progress)?,
    };
    let text = format!(
        "{}\n{}  {}\n",
        built.table(),
        built.sha256,
        built.file.display()
    );
    inputs::print(inputs, &text, &built)
}
