//! `kubeconfig print|merge|unmerge`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::output::{print, print_json};
use crate::cluster::{Current, Receipt};
use crate::error::Result;
use crate::kubeconfig::{self, NAME};
use crate::paths;
use crate::progress::Progress;
use crate::user_kubeconfig::{self, Edited, Merges};

#[derive(Debug, Subcommand)]
pub(super) enum Kubeconfig {
    /// Print the administrator's kubeconfig, which contains a private key
    Print,
    /// Add the context `usernetes` to your own kubeconfig ($KUBECONFIG, or ~/.kube/config)
    Merge(Output),
    /// Remove the context `usernetes` from your own kubeconfig
    Unmerge(Output),
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Kubeconfig {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::Print)
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::Print => print(&kubeconfig::print(Current::read()?.layout.config())?),
            Self::Merge(output) => {
                let layout = Current::read()?.layout;
                let (files, data) = (paths::user_kubeconfigs()?, layout.data(""));
                let mut merges = remembered(&data)?;
                let outcome =
                    user_kubeconfig::merge(layout.config(), &files, &mut merges, save_to(&data))?;
                output.show(&outcome, progress, || {
                    let known = if outcome.changed { "now" } else { "already" };
                    format!("{} {known} has the context `{NAME}`", list(&outcome.files))
                })
            }
            // This works even if nothing is installed any more.
            Self::Unmerge(output) => {
                let (files, data) = (paths::user_kubeconfigs()?, paths::data_dir()?);
                let mut merges = remembered(&data)?;
                let config = paths::config_dir()?;
                let outcome =
                    user_kubeconfig::unmerge(&config, &files, &mut merges, save_to(&data))?;
                output.show(&outcome, progress, || {
                    if outcome.changed {
                        format!(
                            "{} no longer has the context `{NAME}`",
                            list(&outcome.files)
                        )
                    } else {
                        format!("{} has no context `{NAME}`: nothing to do", list(&files))
                    }
                })
            }
        }
    }
}

impl Output {
    fn show(
        &self,
        outcome: &Edited,
        progress: &Progress,
        done: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            let value = serde_json::to_value(outcome).unwrap_or_default();
            return print_json(&value);
        }
        progress.line(done());
        if let Some(context) = outcome.current_context.as_ref().filter(|c| *c != NAME) {
            progress.line(format!("kubectl uses the context `{context}` by default"));
        }
        Ok(())
    }
}

fn list(files: &[PathBuf]) -> String {
    let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
    files.join(", ")
}

/// The merges that the installation's receipt records.
fn remembered(data: &Path) -> Result<Merges> {
    Ok(Receipt::read(data)?.unwrap_or_default().kubeconfigs)
}

/// Records the merges in the receipt, whose other fields may have changed meanwhile.
fn save_to(data: &Path) -> impl FnMut(&Merges) -> Result<()> {
    move |merges| {
        let mut receipt = Receipt::read(data)?.unwrap_or_default();
        receipt.kubeconfigs = merges.clone();
        receipt.write(data)
    }
}
