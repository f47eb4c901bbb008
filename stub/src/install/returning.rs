//! Coming back to an earlier generation, with the configuration that it was applied with.

use std::path::Path;

use super::Source;
use crate::cluster::Receipt;
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::files;

/// What `config.toml` said when a generation was applied last. A later release may have written since what this one cannot
/// read, or means something else by.
pub(super) struct Returning {
    pub(super) text: String,
    pub(super) config: Config,
}

impl Returning {
    /// `None` if the generation's programs are those that run, or if nothing is known of its configuration: then that of
    /// `config.toml` counts.
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

/// Puts `config.toml` aside before it is replaced, and gives a line that says so. Nobody else has what its user changed since
/// it was applied.
pub(super) fn keep_old(file: &Path) -> Result<Option<String>> {
    if !file.exists() {
        return Ok(None);
    }
    let old = file.with_extension("toml.old");
    files::replace(&old, &fs_err::read(file)?, 0o600)?;
    Ok(Some(format!(
        "config.toml: as it was when this generation was applied; the file that was there is {}",
        old.display()
    )))
}
