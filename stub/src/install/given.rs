//! `--pki`: the directory that `pki init` has made for this machine, with its configuration, certificates and keys.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Flags;
use crate::config::Config;
use crate::error::{Context as _, Error, Kind, Result};
use crate::file_system::{read_if_there, same};
use crate::files::{contents, private_directory, replace};
use crate::layout::{CONFIG_FILE, Credential, MASTER, NODE};
use crate::nodes::Files;
use crate::pki::{self, Authority};

/// The directory, after it was looked at.
#[derive(Debug)]
pub(super) struct Given {
    dir: PathBuf,
    /// The configuration in it.
    pub(super) config: Config,
    /// Whether this machine has certificates of it already. They may have been renewed since, so they stay.
    pub(super) taken: bool,
}

impl Given {
    /// Looks at it, if there is one. Fails if it is not that of a machine, if it is of another node than the user wants, or if
    /// the configuration directory has certificates of another cluster or node. Changes nothing.
    pub(super) fn read(flags: &Flags, config_dir: &Path) -> Result<Option<Self>> {
        let Some(dir) = flags.pki.as_deref() else {
            return Ok(None);
        };
        let file = dir.join(CONFIG_FILE);
        if !file.exists() {
            return Err(no_machine(dir));
        }
        let config = Config::read(&file)?;
        if let Some(wanted) = flags.node_name.as_ref().filter(|n| **n != config.node_name) {
            return Err(Error::new(
                Kind::Usage,
                format!("{}: these certificates are of another node", dir.display()),
            )
            .expected(format!("`{wanted}`, as `--node-name` says"))
            .found(format!("`{}`", config.node_name))
            .hint("name the directory of this machine, or leave `--node-name` out"));
        }
        let given = Self {
            taken: is_taken(dir, &config, config_dir)?,
            dir: dir.to_owned(),
            config,
        };
        if !given.taken {
            given.check()?;
        }
        Ok(Some(given))
    }

    /// Says which node this machine has become, for people.
    pub(super) fn taken_over(&self) -> String {
        let (node, dir) = (&self.config.node_name, self.dir.display());
        format!("this machine is the node `{node}`, with the certificates of {dir}")
    }

    /// Where the certificates are that the installation will have.
    pub(super) fn source<'a>(given: Option<&'a Self>, config_dir: &'a Path) -> &'a Path {
        let new = given.filter(|given| !given.taken);
        new.map_or(config_dir, |given| &given.dir)
    }

    /// Fails if the directory cannot be what this machine needs.
    fn check(&self) -> Result<()> {
        let (dir, node) = (&self.dir, &self.config.node_name);
        if self.config.machines.is_worker() {
            let checked = pki::check_node(dir, node, SystemTime::now());
            return checked.hint(|| {
                format!("copy the directory of `{node}` here again, with everything in it; if it is too old, let this machine join with a token instead: `usernetes join`")
            });
        }
        let key = dir.join(Credential::ClusterAuthority.key());
        if key.exists() {
            return Ok(());
        }
        Err(
            Error::new(Kind::Input, format!("{}: no such file", key.display()))
                .expected(
                    "the key of the authority, which the machine with the control plane needs",
                )
                .hint("copy its directory here again, with everything in it"),
        )
    }

    /// Brings the files that this machine does not have yet to their places. That of the authority is the first, so whatever
    /// interrupts this, the next run knows where the others belong. Afterwards they are on disk.
    pub(super) fn take(&self, config_dir: &Path) -> Result<()> {
        if same(&self.dir, config_dir) {
            return Ok(());
        }
        for dir in [MASTER, NODE].map(|dir| config_dir.join(dir)) {
            if dir.ends_with(NODE) || !self.config.machines.is_worker() {
                private_directory(&dir)?;
            }
        }
        for file in self.files()? {
            let to = config_dir.join(&file);
            if !to.exists() {
                replace(&to, &fs_err::read(self.dir.join(&file))?, mode(&file))?;
            }
        }
        Ok(())
    }

    /// The files to bring, relative to the directory, in the order in which they must appear.
    fn files(&self) -> Result<Vec<PathBuf>> {
        if self.config.machines.is_worker() {
            return Ok(Files::names().into());
        }
        let mut files = Vec::new();
        for dir in [MASTER, NODE] {
            for path in contents(&self.dir.join(dir))? {
                let ending = path.extension().unwrap_or_default();
                if ending == "pem" || ending == "kubeconfig" {
                    let name = path.file_name().unwrap_or_default();
                    files.push(Path::new(dir).join(name));
                }
            }
        }
        let first = Credential::NodeAuthority.certificate();
        files.sort_by_key(|file| (*file != first, !is_key(file), file.clone()));
        Ok(files)
    }
}

/// Whether the configuration directory has certificates of the given directory already. Fails if it has others.
fn is_taken(dir: &Path, config: &Config, config_dir: &Path) -> Result<bool> {
    if same(dir, config_dir) {
        return Ok(true);
    }
    let mut present = Vec::new();
    for sub in [MASTER, NODE] {
        let files = contents(&config_dir.join(sub))?;
        // A file that an interrupted run was writing, and that has not got its name, belongs to nobody.
        let named = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            file.extension().is_some() && !name.starts_with(b".")
        };
        present.extend(files.into_iter().filter(named));
    }
    let Some(first) = present.first() else {
        return Ok(false);
    };
    let authority = Credential::NodeAuthority.certificate();
    let here = config_dir.join(&authority);
    let trusted = here.exists().then(|| Authority::of_file(&here));
    let known = match trusted.transpose()? {
        Some(trusted) => trusted.shares(&Authority::of_file(&dir.join(&authority))?),
        None => false,
    };
    if !known {
        return Err(
            Error::new(Kind::Usage, "this machine has other certificates already")
                .expected(format!("none, or those of {}", dir.display()))
                .found(first.display())
                .hint("without `--pki`, `install` goes on with them; to remove the cluster here with all its data first, run `usernetes uninstall --purge`"),
        );
    }
    match node_here(config_dir)? {
        Some(node) if node != config.node_name.as_str() => Err(Error::new(
            Kind::Usage,
            format!("{}: this is the directory of another node", dir.display()),
        )
        .expected(format!("that of `{node}`, which this machine is already"))
        .found(format!("that of `{}`", config.node_name))
        .hint("without `--pki`, `install` goes on with the certificates that are here")),
        // Without it, an earlier run was interrupted.
        node => Ok(node.is_some()),
    }
}

/// The name for which this machine has a certificate as a node; `None` if it has none.
fn node_here(config_dir: &Path) -> Result<Option<String>> {
    let file = config_dir.join(Credential::KubeletClient.certificate());
    let text = read_if_there(&file)?;
    let node = text.map(|text| pki::node_of(&text).about(|| file.display()));
    Ok(node.transpose()?.map(|node| node.to_string()))
}

/// Fails if a worker's certificates, in this directory, are not those of its node. Changes nothing.
pub(super) fn check_worker(dir: &Path, config: &Config) -> Result<()> {
    let node = node_here(dir)?;
    let own = config.node_name.as_str();
    let error = match node {
        Some(node) if node == own => return Ok(()),
        Some(node) => Error::new(
            Kind::Usage,
            "this worker's certificates are of another node",
        )
        .expected(format!("`{own}`, as `{CONFIG_FILE}` or `--node-name` says"))
        .found(format!("`{node}`"))
        .hint(format!(
            "keep the name `{node}`, or let this machine join under another one: `usernetes join --name {own}`"
        )),
        None => {
            let file = dir.join(Credential::KubeletClient.certificate());
            Error::new(
                Kind::Usage,
                format!("{}: no such file", file.display()),
            )
            .expected("the certificate of this worker")
            .hint("copy the whole directory that `pki init` has made for this machine, or let it join with a token: `usernetes join`")
        }
    };
    Err(error)
}

/// The error for a directory that is not that of a machine. It may contain some that are.
fn no_machine(dir: &Path) -> Error {
    let error = Error::new(
        Kind::Usage,
        format!("{}: this is not the directory of a machine", dir.display()),
    )
    .expected(format!(
        "a directory that `usernetes pki init` has made, with `{CONFIG_FILE}`"
    ));
    let inside = contents(dir).unwrap_or_default().into_iter();
    let mut machines: Vec<_> = inside
        .filter(|path| path.join(CONFIG_FILE).exists())
        .map(|path| format!("`{}`", path.display()))
        .collect();
    machines.sort();
    if machines.is_empty() {
        return error;
    }
    error.hint(format!(
        "name that of this machine: {}",
        machines.join(" or ")
    ))
}

fn is_key(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    stem.ends_with("-key")
}

/// Permissions: kubeconfigs may contain a key.
fn mode(file: &Path) -> u32 {
    let secret = is_key(file) || file.extension().is_some_and(|e| e == "kubeconfig");
    if secret { 0o600 } else { 0o644 }
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
