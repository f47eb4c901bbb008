//! `support-bundle`: everything that helps somebody else to find a fault, in one archive, without secrets.
//!
//! Files with keys are never read. What is read is [redacted](redact) all the same, because logs and messages of other programs
//! may have anything in them. A part that cannot be had is a file that says why.

mod archive;
mod collect;
mod redact;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;

use crate::error::{Error, Kind, Result};
use crate::files::replace;
use crate::host::Machine;
use crate::pki::rfc3339;
use crate::progress::Progress;

use redact::Redaction;

/// The directory in the archive.
const DIRECTORY: &str = "usernetes-support";

/// An archive that was written.
#[derive(Debug)]
pub struct Support {
    /// The archive.
    pub file: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// The names of its files, and their lengths in bytes.
    pub parts: Vec<(String, usize)>,
}

/// Collects everything, and writes it into a new file that only the user may read. Without a name, it is in the current
/// directory and has the time in its name. Nothing is changed in the cluster.
pub fn support_bundle(
    file: Option<&Path>,
    machine: &Machine,
    progress: &Progress,
) -> Result<Support> {
    let file = file.map_or_else(default_name, Path::to_owned);
    if file.symlink_metadata().is_ok() {
        return Err(
            Error::new(Kind::Usage, format!("{} exists already", file.display()))
                .expected("the name of a new file")
                .hint("choose another name, or remove the file"),
        );
    }
    let wait = progress.wait("collect");
    let redaction = Redaction::of(machine);
    let mut parts = vec![("README.txt".to_owned(), README.to_owned())];
    for (name, text) in collect::all(machine, &wait) {
        parts.push((name, redaction.apply(&text)));
    }
    replace(&file, &archive::tar_gz(DIRECTORY, &parts)?, 0o600)?;
    wait.finish("done");
    Ok(Support {
        size: fs::metadata(&file)?.len(),
        file,
        parts: parts
            .into_iter()
            .map(|(name, text)| (name, text.len()))
            .collect(),
    })
}

fn default_name() -> PathBuf {
    let now = rfc3339(SystemTime::now()).replace(':', "");
    PathBuf::from(format!("usernetes-support-{now}.tar.gz"))
}

/// The first file of the archive.
const README: &str = "\
This archive was written by `usernetes support-bundle`.

versions.json      the release, its components, the kernel and the distribution
doctor.json        the checks of the machine
status.json        the layers of the cluster
certificates.json  names and dates of certificates
config/            the configuration, the receipt of the installation, the units
log/               the last lines of each component
cluster/           nodes, pods and events, if the API server answered

No file with a key was read, and no Secret was asked for. In all texts, these were replaced: PEM blocks, tokens, passwords,
the home directory ($HOME) and the name of the user (USER). Please look through it before you give it to somebody: logs may
have names of machines, addresses and names of your programs in them.
";
