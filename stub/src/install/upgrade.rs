//! `upgrade` and `rollback`: another release's program installs itself, after this one has checked it.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::Access;

use super::examine;
use super::gate::{reinstall, return_data, unreadable};
use crate::bundle::Bundle;
use crate::child;
use crate::cluster::{Current, Receipt, units_of_others};
use crate::error::{Context as _, Error, Kind, Result};
use crate::host::{self, Level};
use crate::lifecycle::stop;
use crate::manager;
use crate::progress::Progress;
use crate::protocol;
use crate::signature;
use crate::snapshot;
use crate::store::{Generation, Store};

/// How `upgrade` judges a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The bundle's signature; `None` for the file beside it, if there is one.
    pub signature: Option<&'a Path>,
    /// The key that must have signed it, or a file with the key; `None` for the release key.
    pub key: Option<&'a str>,
    /// Whether a bundle may replace one that another key has signed, that is newer or whose version it skips, and stays if
    /// it does not work.
    pub force: bool,
}

/// Checks every byte of a bundle, its signature, and whether it may replace the installed one, before any of its code runs.
/// Then this process becomes the bundle's `install`, so the function returns only errors. The file is opened once, so the
/// checked bytes are the bytes that run, even if another file has taken its name since.
pub fn upgrade(
    file: &Path,
    trust: Trust<'_>,
    timeout: Option<u64>,
    json: bool,
    progress: &Progress,
) -> Result<()> {
    let bundle = Bundle::open(file)?;
    let store = Store::open_default()?;
    store.preflight(&bundle)?;
    // Before all bytes are read. It is so for a file system that lets no program run, too.
    rustix::fs::access(bundle.open_path(), Access::EXEC_OK)
        .map_err(|errno| not_executable(file, &errno.into()))?;
    let total = bundle.manifest().frames.iter().map(|f| f.size).sum();
    let task = progress.task("verify", total);
    bundle.verify(|frame| task.advance(frame.size))?;
    task.clear();
    let origin = signature::check_bundle(&bundle, trust.signature, trust.key)?;
    if !trust.force
        && let Some(installed) = store.current()?
    {
        signature::may_replace(&installed.origin()?, &origin, false)?;
    }
    progress.line(format!("{}: {origin}", file.display()));
    let origin = serde_json::to_string(&origin)
        .map_err(|e| Error::new(Kind::Failed, format!("cannot pass on the origin: {e}")))?;
    let mut command = Command::new(bundle.open_path());
    command
        .arg0(file)
        .args([protocol::INSTALL, protocol::ORIGIN, &origin])
        .args(trust.force.then_some(protocol::FORCE))
        .args(json.then_some(protocol::JSON));
    if let Some(seconds) = timeout {
        command.args([protocol::TIMEOUT, &seconds.to_string()]);
    }
    child::announce(&command);
    Err(not_executable(file, &command.exec()))
}

fn not_executable(file: &Path, reason: &std::io::Error) -> Error {
    let name = file.display();
    Error::new(Kind::Host, format!("{name} cannot be run"))
        .found(reason)
        .hint(format!(
            "if it is not executable, run `chmod +x {name}`; if its file system does not let programs run, copy it to one that does"
        ))
}

/// If a generation's etcd cannot read the present data, stops the cluster and gives back the data that the generation had.
fn prepare_data(store: &Store, generation: &Generation, progress: &Progress) -> Result<()> {
    let current = Current::read()?;
    if unreadable(&current.layout, generation)?.is_none() {
        return Ok(());
    }
    let has_units = current.has_units()?;
    // Before anything is stopped, everything is checked that can prevent the generation from coming back. Without units,
    // nothing runs now, and `usernetes run` makes its own checks.
    if has_units {
        let findings = examine(&current.machine)?;
        let fatal: Vec<_> = findings
            .into_iter()
            .filter(|f| f.level == Level::Fatal)
            .collect();
        if !fatal.is_empty() {
            return Err(host::refusal(&fatal));
        }
    }
    snapshot::need(&current.layout, generation.number())?;
    snapshot::check_space(&current.layout)?;
    let store = store.clone().locked()?;
    store.sign()?;
    if has_units {
        let others = units_of_others(store.dir())?;
        stop(current.manager()?.as_ref(), &others, progress)?;
    }
    return_data(&current.layout, generation, progress)
}

/// Makes an earlier generation current again; `None` for the one before the current one. If units are installed, this
/// process becomes the `install` of that generation's own program, because only that program knows its units and the other
/// files that it makes from the configuration. It checks whether it can run here before it becomes current.
/// Fails while `usernetes run` runs the cluster.
pub fn rollback(generation: Option<u64>, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?;
    if manager::is_claimed(store.dir()) {
        return Err(manager::runs(store.dir()));
    }
    let receipt = Receipt::read(store.dir())?.unwrap_or_default();
    if receipt.units.is_empty() {
        let mut number = generation;
        // Otherwise there are only programs.
        if !receipt.config.is_empty() {
            let generation = store.complete(number)?;
            prepare_data(&store, &generation, progress)?;
            number = Some(generation.number());
        }
        let generation = store.rollback(number)?;
        let (number, release) = (generation.number(), &generation.manifest().release);
        progress.line(format!(
            "generation {number} (release {release}) is current now"
        ));
        return Ok(());
    }
    let generation = store.complete(generation)?;
    prepare_data(&store, &generation, progress)?;
    let mut command = reinstall(&generation);
    child::announce(&command);
    Err(command.exec()).about(|| command.get_program().display().to_string())
}
