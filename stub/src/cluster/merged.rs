//! The user's own kubeconfigs that the administrator's was merged into, as the receipt records them.

use std::path::{Path, PathBuf};

use super::{Current, Receipt};
use crate::error::Result;
use crate::progress::Progress;
use crate::user_kubeconfig::{self, Merges};

impl Current {
    /// Replaces the certificate in the user's kubeconfigs that still have our entries. A file that cannot be changed is named
    /// in a message, and keeps the old certificate.
    pub(crate) fn update_merged_kubeconfigs(&self, progress: &Progress) {
        let data = self.layout.data_dir();
        let updated = remembered(data).and_then(|mut merges| {
            user_kubeconfig::update(self.layout.config(), &mut merges, save_to(data))
        });
        match updated {
            Ok(files) => {
                for file in files {
                    progress.line(format!("{} has the new certificate", file.display()));
                }
            }
            Err(error) => progress.line(format!(
                "your kubeconfig keeps the old certificate, run `usernetes kubeconfig merge`: {error}"
            )),
        }
    }

    /// The user's kubeconfigs whose entries of ours are not up to date.
    pub fn outdated_kubeconfigs(&self) -> Result<Vec<PathBuf>> {
        let merges = remembered(self.layout.data_dir())?;
        user_kubeconfig::outdated(self.layout.config(), &merges)
    }
}

/// The merges that the installation's receipt records.
pub fn remembered(data: &Path) -> Result<Merges> {
    Ok(Receipt::read(data)?.unwrap_or_default().kubeconfigs)
}

/// Records the merges in the receipt, whose other fields may have changed meanwhile.
pub fn save_to(data: &Path) -> impl FnMut(&Merges) -> Result<()> {
    move |merges| {
        let mut receipt = Receipt::read(data)?.unwrap_or_default();
        receipt.kubeconfigs = merges.clone();
        receipt.write(data)
    }
}
