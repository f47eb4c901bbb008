//! `builder verify`.

use std::path::PathBuf;

use clap::Args;
use stub::bundle::Bundle;
use stub::error::{Error, Kind, Result};
use stub::progress::{Progress, bytes};
use stub::signature;

use super::inputs::{self, Inputs, fill_cache, head};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::wording::counted;
use crate::{pack, verify};

/// Arguments of `builder verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The bundle to check
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Build the bundle again from this checkout, and compare every byte
    #[arg(long)]
    pub rebuild: bool,
    /// Check this minisign signature [default: FILE.minisig, if it exists]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Fail unless this public key, or the key in this file, has signed the bundle. Without this option, a bundle without a signature is accepted, and a signature is checked with the release's key
    #[arg(long, value_name = "KEY|FILE")]
    pub key: Option<String>,
}

/// `builder verify`: integrity, and on request whether the checkout makes the same bytes.
pub(crate) fn run(inputs: &Inputs, args: &VerifyArgs, progress: &Progress) -> Result<()> {
    let (original, mut verified) = verify::integrity(&args.file, progress)?;
    // Of the bytes that were just checked, even if something else has taken the file's name since.
    let origin =
        signature::check_bundle(&original, args.signature.as_deref(), args.key.as_deref())?;
    let mut text = format!(
        "{}: every byte matches the manifest: {}, {} unpacked\nbundle id {}\n{origin}\n",
        args.file.display(),
        counted(verified.components, "component"),
        bytes(verified.unpacked),
        verified.id
    );
    verified.origin = Some(origin);
    if args.rebuild {
        rebuild(inputs, &original, progress)?;
        verified.rebuilt = true;
        text += "built again from this checkout, with the same bytes\n";
    }
    inputs::print(inputs, &text, &verified)
}

/// Builds a bundle again from the lockfile and components it names, and compares.
fn rebuild(inputs: &Inputs, original: &Bundle, progress: &Progress) -> Result<()> {
    let lockfile = Lockfile::read(&inputs.lockfile_path()?)?;
    let manifest = original.manifest();
    if lockfile.digest()? != manifest.lockfile {
        return Err(Error::new(Kind::Input, format!("{}: it was built from another lockfile", original.path().display()))
            .expected(format!("sha256 {}", manifest.lockfile))
            .found(format!("sha256 {}", lockfile.digest()?))
            .hint("check out the commit that the bundle was built from, or name its lockfile with `--lockfile`"));
    }
    let only = verify::components(original);
    let cache = Cache::of_user()?;
    fill_cache(inputs, &lockfile, manifest.arch, &only, &cache, progress)?;
    let scratch = tempfile::tempdir().map_err(|e| {
        Error::from(e).elsewhere("set TMPDIR to a directory on another file system")
    })?;
    let order = pack::Order {
        lockfile: &lockfile,
        arch: manifest.arch,
        only: &only,
        level: manifest.level,
        head: head(inputs, manifest.arch, None, progress)?,
        output: &scratch.path().join("rebuilt"),
    };
    pack::build(&order, &cache, progress)?;
    let _comparing = progress.wait("compare");
    verify::same_bytes(original, &Bundle::open(order.output)?)
}
