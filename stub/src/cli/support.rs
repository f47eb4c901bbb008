//! `support-bundle`

use std::path::PathBuf;

use clap::Args;

use super::output::{print, table};
use crate::error::Result;
use crate::host::Machine;
use crate::progress::{Progress, bytes};
use crate::support;

#[derive(Debug, Args)]
pub(super) struct SupportBundle {
    /// The archive to write [default: usernetes-support-TIME.tar.gz in this directory]
    file: Option<PathBuf>,
}

impl SupportBundle {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let made = support::support_bundle(self.file.as_deref(), &Machine::this(), progress)?;
        let row = |(name, size): &(String, usize)| vec![name.clone(), bytes(*size as u64)];
        let rows: Vec<_> = made.parts.iter().map(row).collect();
        print(&table(&rows, &[1]))?;
        progress.line(format!(
            "{}: {}; secrets, your home and your name were replaced; look through it before you give it to somebody",
            made.file.display(),
            bytes(made.size)
        ));
        Ok(())
    }
}
