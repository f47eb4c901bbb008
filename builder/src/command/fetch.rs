//! `builder fetch`.

use stub::error::Result;
use stub::progress::{Progress, bytes};

use super::inputs::{self, Inputs, Selection, arch, fill_cache};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::wording::counted;

/// `builder fetch`: everything the lockfile pins, into the cache.
pub(crate) fn run(inputs: &Inputs, selection: &Selection, progress: &Progress) -> Result<()> {
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
        "{} fetched ({}), {} already in the cache\n",
        counted(summary.fetched, "file"),
        bytes(summary.bytes),
        summary.cached
    );
    inputs::print(inputs, &text, &summary)
}
