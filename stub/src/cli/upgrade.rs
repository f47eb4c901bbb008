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
    /// Its minisign signature [default: FILE.minisig, if there is one]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The public key that must have signed it, or a file with it [default: the release's]
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// Install it even if the installed bundle was signed and this one is not, or by another key. A signature that is wrong stays wrong
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    /// Checks everything there is to check before anything of the file is run: each byte, the signature, and whether it
    /// may take the installed one's place. Then this process becomes its `install`. The file is opened once: what was
    /// checked is what is run, even if something else has taken its name since.
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
                "if it is not executable, run `chmod +x {}`; if its file system runs no programs, copy it to one that does",
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
