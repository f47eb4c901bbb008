//! `builder mirror`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use stub::error::Result;
use stub::progress::{Progress, bytes};

use super::inputs::{self, Inputs, Selection, arch, fill_cache};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::mirror;
use crate::wording::counted;

/// The commands below `builder mirror`.
#[derive(Debug, Subcommand)]
pub(crate) enum MirrorCommand {
    /// Copy the files that the lockfile needs into a directory, after downloading those that the cache lacks
    Export {
        /// The directory to copy to
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        selection: Selection,
    },
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
        "{}, {} in {}\n",
        counted(exported.files, "file"),
        bytes(exported.bytes),
        directory.display()
    );
    inputs::print(inputs, &text, &exported)
}
