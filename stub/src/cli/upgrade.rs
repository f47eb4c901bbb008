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
    /// Install the bundle even if it is not signed by the installed bundle's key, is older or skips a minor version of
    /// Kubernetes, and keep it even if it does not work; a wrong signature is always refused
    #[arg(long)]
    force: bool,
    /// Return to the installed release if a step of the start takes longer than this [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
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
        install::upgrade(&self.file, trust, self.timeout, self.json, progress)
    }
}
