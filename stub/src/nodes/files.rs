//! The files of a worker's identity, below its configuration directory.

use std::path::{Path, PathBuf};

use crate::cluster::component_server;
use crate::config::Config;
use crate::error::Result;
use crate::files::{private_directory, remove_if_there, replace};
use crate::kubeconfig::{Access, Identity};
use crate::layout::{Credential, Kubeconfig, NODE};

/// The files of one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    dir: &'a Path,
    config: &'a Config,
}

impl<'a> Files<'a> {
    /// Those of the worker with this configuration, below this configuration directory.
    pub(crate) fn of(dir: &'a Path, config: &'a Config) -> Self {
        Self { dir, config }
    }

    /// All of them, relative to the configuration directory. That of the authority is the first, and keys come before
    /// certificates.
    pub(crate) fn names() -> [PathBuf; 6] {
        [
            Credential::NodeAuthority.certificate(),
            Credential::KubeletClient.key(),
            Credential::Kubelet.key(),
            Credential::KubeletClient.certificate(),
            Credential::Kubelet.certificate(),
            Kubeconfig::Kubelet.file(),
        ]
    }

    /// Makes the directories.
    pub(crate) fn directories(&self) -> Result<()> {
        private_directory(self.dir)?;
        private_directory(&self.dir.join(NODE))
    }

    /// Writes the certificates of the authorities that it trusts.
    pub(crate) fn authority(&self, pem: &str) -> Result<()> {
        let file = self.dir.join(Credential::NodeAuthority.certificate());
        replace(&file, pem.as_bytes(), 0o644)
    }

    /// Writes a certificate, and its key if that is new. A new key comes with the first certificate only, so there is never a
    /// certificate beside a key that it does not belong to.
    pub(crate) fn certificate(
        &self,
        credential: Credential,
        key: Option<&str>,
        certificate: &str,
    ) -> Result<()> {
        let file = self.dir.join(credential.certificate());
        if let Some(key) = key {
            remove_if_there(&file)?;
            replace(&self.dir.join(credential.key()), key.as_bytes(), 0o600)?;
        }
        replace(&file, certificate.as_bytes(), 0o644)
    }

    /// Writes the kubeconfig, which names the files above.
    pub(crate) fn kubeconfig(&self) -> Result<()> {
        let kubeconfig = Kubeconfig::Kubelet;
        let names = [
            kubeconfig.authority().certificate(),
            kubeconfig.credential().certificate(),
            kubeconfig.credential().key(),
        ];
        let names = names.map(|file| {
            let name = file.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        let [authority, certificate, key] = &names;
        let access = Access {
            server: format!("https://{}", component_server(self.config)),
            identity: Identity::Files {
                authority,
                certificate,
                key,
            },
        };
        let file = self.dir.join(kubeconfig.file());
        replace(&file, access.to_json().as_bytes(), 0o600)
    }
}
