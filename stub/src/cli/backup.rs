//! `backup`, `restore`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::print_json;
use crate::backup;
use crate::config::DnsName;
use crate::error::Result;
use crate::host::Machine;
use crate::lock::in_turn;
use crate::progress::{Progress, bytes};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Backup {
    /// The file to write; it will contain private keys
    #[arg(required_unless_present = "scheduled")]
    file: Option<PathBuf>,
    /// Make the backup that the schedule in `config.toml` asks for, if it is due; a timer does this
    #[arg(long, conflicts_with_all = ["file", "force"])]
    scheduled: bool,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Leave out the data of volumes
    #[arg(long)]
    without_volumes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let created = match &self.file {
            Some(file) => backup::create(file, self.force, !self.without_volumes, progress)?,
            None => match in_turn(|| backup::scheduled(progress))? {
                Some(created) => created,
                None => return Ok(()),
            },
        };
        let contents = &created.contents;
        if self.json {
            return print_json(&json!({
                "bytes": created.size, "created": contents.created, "file": created.file, "files": contents.files.len(),
                "lacks_volumes": contents.lacks_volumes, "node_name": contents.node_name, "release": contents.release, "running": created.running,
                "versions": contents.versions,
            }));
        }
        let state = if created.running {
            "running"
        } else {
            "stopped"
        };
        progress.line(format!(
            "{}: {} files of the {state} cluster, {}, all read again; it contains private keys",
            created.file.display(),
            contents.files.len(),
            bytes(created.size)
        ));
        if contents.lacks_volumes {
            progress.line("the data of volumes is not in it");
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A file that `backup` has written
    file: PathBuf,
    /// Give this machine another name in the cluster than the one in the backup
    #[arg(long, value_name = "NAME")]
    node_name: Option<DnsName>,
    /// Replace the existing cluster; its configuration, keys and data are moved aside
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let wanted = backup::Wanted {
            node_name: self.node_name.clone(),
            force: self.force,
        };
        let report = backup::restore(&self.file, &wanted, &Machine::this(), progress)?;
        super::install::show(&report, self.json, progress)
    }
}

/// Completes or undoes a restore that was interrupted.
pub(super) fn settle(progress: &Progress) -> Result<()> {
    backup::settle(&Machine::this(), progress)
}

/// Writes the data of volumes to stdout.
#[expect(
    clippy::disallowed_methods,
    reason = "an archive is not text, and a write that fails is an error here"
)]
pub(super) fn pack_volumes(directory: &Path) -> Result<()> {
    backup::pack_volumes(directory, std::io::stdout().lock())
}
