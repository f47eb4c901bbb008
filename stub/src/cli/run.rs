//! `run`

use clap::Args;

use super::install::Settings;
use crate::error::Result;
use crate::host::Machine;
use crate::progress::Progress;
use crate::supervise;

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    settings: Settings,
    /// Write the output of the services to the log files only, which `usernetes logs` shows
    #[arg(short, long)]
    quiet: bool,
}

impl Run {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        supervise::run(
            &self.settings.flags(),
            self.quiet,
            &Machine::this(),
            progress,
        )
    }
}
