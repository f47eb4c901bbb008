//! `kubeconfig print|merge|unmerge`

use clap::Subcommand;

use super::output::{print, print_json};
use crate::error::Result;
use crate::install::Current;
use crate::kubeconfig::{self, user};
use crate::paths;
use crate::progress::Progress;

#[derive(Debug, Subcommand)]
pub(super) enum Kubeconfig {
    /// Print the administrator's kubeconfig, which contains a private key
    Print,
    /// Add the context `usernetes` to your own kubeconfig ($KUBECONFIG, or ~/.kube/config)
    Merge {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take it out again
    Unmerge {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Kubeconfig {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::Print)
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let current = Current::read()?;
        let config = current.layout.config();
        let kubectl = || current.program("kubectl");
        let (outcome, json, done) = match self {
            Self::Print => return print(&kubeconfig::print(config)?),
            Self::Merge { json } => {
                let outcome = user::merge(&kubectl()?, config, &paths::user_kubeconfig()?)?;
                (outcome, *json, "has the context `usernetes` now")
            }
            Self::Unmerge { json } => {
                let outcome = user::unmerge(&kubectl()?, config, &paths::user_kubeconfig()?)?;
                (outcome, *json, "no longer has the context `usernetes`")
            }
        };
        if json {
            let value = serde_json::to_value(&outcome).unwrap_or_default();
            return print_json(&value);
        }
        let file = outcome.file.display();
        let done = if outcome.changed {
            done
        } else {
            "is as it should be, nothing to do"
        };
        progress.line(format!("{file} {done}"));
        if let Some(backup) = &outcome.backup {
            progress.line(format!("what it was is in {}", backup.display()));
        }
        if let Some(context) = outcome.current_context.filter(|c| c != kubeconfig::NAME) {
            progress.line(format!("kubectl goes on using the context `{context}`"));
        }
        Ok(())
    }
}
