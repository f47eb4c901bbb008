//! Uninstalling.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::cleanup::quoted;
use crate::child::{self, Ended};
use crate::cluster::{RECEIPT, Receipt, WANTS, first_process, present, unit_dir, ways};
use crate::error::{Context, Error, Kind, Result};
use crate::files::{contents, remove_root, remove_tree};
use crate::host::Machine;
use crate::layout::Layout;
use crate::lifecycle::{end_run, stop};
use crate::progress::Progress;
use crate::services::{UnitName, all_unit_names};
use crate::store::Store;
use crate::systemd::Systemd;
use crate::user_kubeconfig;

/// Directories in the data directory that do not hold data.
const PROGRAMS: [&str; 3] = ["store", "generations", "current"];

/// The directory in the data directory that is the user's own.
const IMAGES: &str = "images";

/// Something that is left afterwards, and why.
struct Left {
    what: String,
    why: String,
}

impl Left {
    fn path(path: &Path, why: impl Into<String>) -> Self {
        Self {
            what: path.display().to_string(),
            why: why.into(),
        }
    }
}

/// The service manager that runs the units of this installation.
enum Manager {
    /// The user's service manager.
    Ours(Systemd),
    /// The user's service manager has the units of another installation, of which this one is a copy. This is one of their
    /// files.
    Foreign(String),
    /// No service manager answers.
    Silent,
}

impl Manager {
    /// Fails if the cluster runs and cannot be stopped.
    fn of(layout: &Layout, machine: &Machine) -> Result<Self> {
        let dir = unit_dir(layout);
        let names: Vec<UnitName> = all_unit_names().into_iter().collect();
        let asked = Systemd::of(machine).and_then(|systemd| Ok((systemd.units(&names)?, systemd)));
        match asked {
            Ok((units, systemd)) => Ok(units
                .iter()
                .find(|unit| unit.is_of_another(&dir))
                .map_or(Self::Ours(systemd), |unit| {
                    Self::Foreign(unit.get("FragmentPath").to_owned())
                })),
            Err(error) => nothing_runs(layout, machine, &error).map(|()| Self::Silent),
        }
    }
}

/// Stops everything and removes the units that `install` wrote; with `purge` also programs, configuration, keys and
/// data. Then compares the disk with the receipt, and fails if anything is left. It completes an interrupted run.
pub fn uninstall(purge: bool, machine: &Machine, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?;
    end_run(machine, store.dir(), progress)?;
    let store = store.locked()?;
    let layout = present(&store, machine)?;
    let receipt = Receipt::read(store.dir())?;
    // The receipt is gone before the directories that it names. So if there is none, a run before may have been interrupted then.
    let shared = match &receipt {
        Some(receipt) => receipt.directories_of(&layout),
        None if purge => ways(&layout),
        None => Vec::new(),
    };
    let receipt = receipt.unwrap_or_default();
    let manager = Manager::of(&layout, machine)?;
    let foreign = matches!(manager, Manager::Foreign(_));
    store.sign()?;
    let mut left = Vec::new();
    if receipt.units.is_empty() {
        progress.line("no units were installed");
    } else {
        left.extend(remove_units(&layout, &receipt, &manager, progress)?);
    }
    if !foreign {
        remove_tree(layout.runtime_dir())?;
    }
    let undone = user_kubeconfig::at_uninstall(layout.config(), &receipt.kubeconfigs, purge);
    for line in undone.lines {
        progress.line(line);
    }
    let kubeconfigs = undone.left.into_iter();
    left.extend(kubeconfigs.map(|(file, why)| Left::path(&file, why)));
    if purge {
        left.extend(self::purge(&layout, machine, progress)?);
    }
    let sessions = layout.runtime_dir();
    let sessions = sessions.parent().filter(|_| foreign);
    for directory in shared {
        if sessions.is_none_or(|dir| !directory.starts_with(dir)) {
            left.extend(remove_shared(&directory));
        }
    }
    left.extend(residue(&layout, &receipt, purge)?);
    if left.is_empty() && !purge && receipt != Receipt::default() {
        // As long as there is data, the configuration it was made with and the directories to remove with it must be known.
        receipt.without_units().write(store.dir())?;
    }
    report(&left, purge, progress)
}

/// Removes a directory that others may use, too. One that somebody uses by now is not empty, or a mount point, and stays.
fn remove_shared(directory: &Path) -> Option<Left> {
    let error = fs_err::remove_dir(directory).err()?;
    let is_used = matches!(
        error.kind(),
        ErrorKind::DirectoryNotEmpty
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::ResourceBusy
    );
    (!is_used).then(|| Left::path(directory, error.to_string()))
}

/// Says that everything was removed, or fails and names the rest.
fn report(left: &[Left], purge: bool, progress: &Progress) -> Result<()> {
    if left.is_empty() {
        progress.line(if purge {
            "everything was removed"
        } else {
            "units were removed; programs, configuration and data are still there"
        });
        return Ok(());
    }
    let mut error = Error::new(Kind::Failed, "not everything could be removed");
    for Left { what, why } in left {
        error = error.detail("left", format!("{what}: {why}"));
    }
    Err(error.hint("look at each of them, and remove what you do not need"))
}

/// Fails if the cluster runs, although the service manager could not be asked because of `error`.
fn nothing_runs(layout: &Layout, machine: &Machine, error: &Error) -> Result<()> {
    let Some(pid) = first_process(layout, machine) else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Host,
        "the cluster cannot be stopped: it is running, but your service manager does not answer",
    )
    .detail("process", pid)
    .detail("because", error.message())
    .hint(format!(
        "log in so that `systemctl --user` works and try again; if that process does not belong to the cluster, remove {}",
        layout.rootlesskit().display()
    )))
}

/// Stops the units and removes their files. Without a service manager none of them runs. Units of another installation are
/// left alone.
fn remove_units(
    layout: &Layout,
    receipt: &Receipt,
    manager: &Manager,
    progress: &Progress,
) -> Result<Option<Left>> {
    if let Manager::Ours(systemd) = manager {
        stop(systemd, &receipt.units_of_others(), progress)?;
    }
    receipt.remove_units(&unit_dir(layout))?;
    match manager {
        Manager::Silent => {}
        Manager::Foreign(file) => progress.line(format!(
            "your service manager has the units of another installation, such as {file}; they are left as they are"
        )),
        Manager::Ours(systemd) => {
            systemd.run(["daemon-reload"])?;
            if receipt.linger
                && let Err(error) = systemd.linger(false)
            {
                return Ok(Some(Left {
                    what: "lingering, which `install` turned on".to_owned(),
                    why: error.to_string().replace('\n', ";"),
                }));
            }
        }
    }
    Ok(None)
}

/// Removes data, configuration and programs. The programs come last, because RootlessKit is one of them. Files outside of the
/// two directories that links lead to stay; gives them.
fn purge(layout: &Layout, machine: &Machine, progress: &Progress) -> Result<Vec<Left>> {
    let wait = progress.wait("remove data");
    let data = layout.data_dir();
    let mut left = links_out(data, 1)?;
    left.extend(links_out(layout.config(), 2)?);
    for path in contents(data)? {
        let stays = PROGRAMS.iter().any(|name| path.ends_with(name)) || path.ends_with(RECEIPT);
        if !stays && remove_tree(&path).is_err() {
            remove_in_namespace(layout, machine, &path)?;
        }
    }
    let data: PathBuf = data.components().collect();
    let mut empty = Vec::new();
    empty.extend(remove_root(layout.config())?);
    // The receipt is the last: if this is interrupted, the next run knows which directories above are to be removed, too.
    for path in contents(&data)? {
        if !path.ends_with(RECEIPT) {
            remove_tree(&path)?;
        }
    }
    empty.extend(remove_root(&data)?);
    wait.finish("done");
    for dir in empty {
        progress.line(format!(
            "the directory {} is empty now, and stays",
            dir.display()
        ));
    }
    Ok(left)
}

/// The places outside of a directory that links in it lead to. Looks at most so many levels deep.
fn links_out(dir: &Path, levels: u32) -> Result<Vec<Left>> {
    let Ok(inside) = fs_err::canonicalize(dir) else {
        return Ok(Vec::new());
    };
    let mut left = Vec::new();
    for path in contents(dir)? {
        if path.is_symlink() {
            // A link that leads nowhere leaves nothing behind.
            let target = fs_err::canonicalize(&path).ok();
            let outside = target.filter(|target| !target.starts_with(&inside));
            left.extend(
                outside.filter(|_| !path.ends_with(IMAGES)).map(|target| {
                    Left::path(&target, format!("{} was a link to it", path.display()))
                }),
            );
        } else if levels > 1 && path.is_dir() {
            left.extend(links_out(&path, levels - 1)?);
        }
    }
    Ok(left)
}

/// Removes files that containers have written. They belong to subordinate ids, so without root they can be removed only in a
/// user namespace. RootlessKit makes one.
pub(crate) fn remove_in_namespace(layout: &Layout, machine: &Machine, path: &Path) -> Result<()> {
    let by_hand = || format!("`sudo rm -rf {}` removes it", quoted(path));
    let rootlesskit = layout.program("rootlesskit");
    let mut command = machine.command(&rootlesskit);
    let ended = child::run(command.args(["rm", "-rf", "--"]).arg(path));
    ended
        .and_then(Ended::success)
        .map(drop)
        .about(|| format!("{} cannot be removed", path.display()))
        .hint(by_hand)
}

/// Files with our names that are left.
fn residue(layout: &Layout, receipt: &Receipt, purged: bool) -> Result<Vec<Left>> {
    let dir = unit_dir(layout);
    let mut names: BTreeSet<_> = all_unit_names().iter().map(ToString::to_string).collect();
    names.extend(receipt.units.keys().cloned());
    let mut left = Vec::new();
    for path in [contents(&dir.join(WANTS))?, contents(&dir)?].concat() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unit = name.trim_start_matches('.').trim_end_matches(".new");
        let why = match unit.strip_suffix(".d") {
            Some(unit) if names.contains(unit) => "your own settings for a unit of the cluster",
            _ if !names.contains(unit) => continue,
            _ if path.parent().is_some_and(|dir| dir.ends_with(WANTS)) => {
                "a link that `install` did not make"
            }
            _ if receipt.units.contains_key(unit) => "was changed since it was installed",
            _ => "was not written by `install`",
        };
        left.push(Left::path(&path, why));
    }
    let roots = [layout.data_dir(), layout.config()];
    for dir in roots.iter().filter(|_| purged) {
        if dir.is_symlink() || !contents(dir)?.is_empty() {
            left.push(Left::path(dir, "somebody else has written there since"));
        }
    }
    Ok(left)
}
