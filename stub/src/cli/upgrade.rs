//! `upgrade`

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::install::{self, Trust};
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// The bundle to install
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The bundle's minisign signature [default: FILE.minisig, if it exists]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The public key that must have signed the bundle, or a file with that key [default: the release key]
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// Install the bundle even if it is not signed by the installed bundle's key; a wrong signature is always refused
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let trust = Trust {
            signature: self.signature.as_deref(),
            key: self.key.as_deref(),
            force: self.force,
        };
        install::upgrade(&self.file, trust, self.json, progress)
    }
}
