//! `builder sbom`.

use std::path::PathBuf;

use clap::Args;
use stub::bundle::Bundle;
use stub::error::Result;
use stub::{output, sbom};

/// Arguments of `builder sbom`.
#[derive(Debug, Args)]
pub(crate) struct SbomArgs {
    /// The bundle
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the document in this format
    #[arg(long, value_enum, default_value_t)]
    pub format: sbom::Format,
}

/// `builder sbom`.
pub(crate) fn run(args: &SbomArgs) -> Result<()> {
    let bundle = Bundle::open(&args.file)?;
    output::data(&sbom::document(
        bundle.manifest(),
        &bundle.id(),
        args.format,
    )?)
}
