//! `upgrade`

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::bundle::Bundle;
use crate::error::{Context as _, Error, Kind, Result};
use crate::progress::Progress;
use crate::signature::{self, Verdict};
use crate::store::Store;

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
    /// Checks every byte, the signature, and whether the bundle may replace the installed one, before any of its code
    /// runs. Then this process becomes the bundle's `install`. The file is opened once, so the bytes that were checked
    /// are the bytes that run, even if another file has taken its name since.
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let bundle = Bundle::open(&self.file)?;
        let store = Store::open_default()?;
        store.preflight(&bundle)?;
        let total = bundle.manifest().frames.iter().map(|f| f.size).sum();
        let task = progress.task("verify", total);
        bundle.verify(|frame| task.advance(frame.size))?;
        task.clear();
        let origin =
            signature::check_bundle(&bundle, self.signature.as_deref(), self.key.as_deref())?;
        if !self.force
            && let Some(installed) = store.current()?
        {
            signature::may_replace(&installed.origin()?, &origin, false)?;
        }
        progress.line(format!("{}: {origin}", self.file.display()));
        let error = self.install(&bundle, &origin)?.exec();
        Err(error).about(|| self.file.display().to_string()).hint(|| {
            format!(
                "if it is not executable, run `chmod +x {}`; if its file system does not let programs run, copy it to one that does",
                self.file.display()
            )
        })
    }

    fn install(&self, bundle: &Bundle, origin: &Verdict) -> Result<Command> {
        let origin = serde_json::to_string(origin)
            .map_err(|e| Error::new(Kind::Failed, format!("cannot pass on the origin: {e}")))?;
        let mut command = Command::new(bundle.open_path());
        command
            .arg0(&self.file)
            .args(["install", "--origin", &origin]);
        if self.json {
            command.arg("--json");
        }
        Ok(command)
    }
}
