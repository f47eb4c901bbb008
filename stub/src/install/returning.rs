//! Coming back to an earlier generation, with the configuration that it was applied with.

use std::path::{Path, PathBuf};

use super::Source;
use crate::cluster::Receipt;
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::files;

/// The text of `config.toml` when a generation was applied last. A later release may have written settings since that this
/// one cannot read, or understands differently.
pub(super) struct Returning {
    pub(super) text: String,
    pub(super) config: Config,
}

impl Returning {
    /// `None` if the generation's programs are the running ones, or if its configuration is unknown: then `config.toml`
    /// counts.
    pub(super) fn to(source: &Source, receipt: Option<&Receipt>) -> Result<Option<Self>> {
        let Source::Installed(generation) = source else {
            return Ok(None);
        };
        if receipt.is_none_or(|receipt| receipt.generation == generation.number()) {
            return Ok(None);
        }
        let Some(text) = generation.configuration()? else {
            return Ok(None);
        };
        let config = Config::parse(&text)
            .about(|| format!("the configuration of generation {}", generation.number()))?;
        Ok(Some(Self { text, config }))
    }
}

/// Copies `config.toml` before it is replaced, because nothing else has the changes that the user has made since it was
/// applied. Gives the copy's path.
pub(super) fn keep_old(file: &Path) -> Result<Option<PathBuf>> {
    if !file.exists() {
        return Ok(None);
    }
    let old = file.with_extension("toml.old");
    files::replace(&old, &fs_err::read(file)?, 0o600)?;
    Ok(Some(old))
}
