//! The record of a restore that is under way.
//!
//! A restore moves the cluster that is there aside and brings the files of the backup to its places. The record is on disk before
//! the first of these steps, and says what was there. So whatever ends a restore half-way, even a power failure, [`settle`] brings
//! back what was there before, or, if the backup is in its place already, keeps that. Every command that changes something begins
//! with it, and so does the cluster when it starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::{CONFIG, IMAGES};
use crate::cluster::{Receipt, check_owner, present};
use crate::components::local_path::VOLUMES_SOURCE;
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::files::{private_directory, remove_if_there, remove_tree, replace, sync_parent};
use crate::host::Machine;
use crate::install;
use crate::layout::{Layout, MASTER, NODE};
use crate::progress::Progress;
use crate::store::Store;

/// Its name in the data directory.
const NAME: &str = "restoring.json";
/// Where the files of a backup are before they come to their places.
pub(super) const SCRATCH: &str = ".restore";
/// Where etcd's data is made from a snapshot.
pub(super) const NEW_DATA: &str = "etcd.new";
/// What is moved aside in the configuration directory.
const OF_CONFIG: [&str; 3] = [CONFIG, MASTER, NODE];
/// What is moved aside in the data directory. The members of etcd are those of the replaced data.
const OF_DATA: [&str; 5] = [
    "etcd",
    "etcd-user.json",
    "etcd-member.json",
    "etcd-members.json",
    VOLUMES_SOURCE,
];

/// The record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The name of the directories, in those of configuration and data, that hold what is replaced.
    aside: String,
    /// Whether a cluster is replaced, which then stays there.
    had_cluster: bool,
    /// What was in the configuration directory before.
    config: BTreeSet<String>,
    /// What was in the data directory before.
    data: BTreeSet<String>,
    /// The user's images that the backup brings.
    images: BTreeSet<String>,
    /// The receipt as it was.
    receipt: Option<Receipt>,
    /// The generation that was current.
    generation: Option<u64>,
    /// The backup, once everything of it is in its place.
    pub(super) brought: Option<Sha256>,
}

impl Journal {
    /// Records what is there, before anything is moved. Afterwards the record is on disk. `images` are the names that the backup has.
    pub(super) fn begin(
        layout: &Layout,
        store: &Store,
        had_cluster: bool,
        images: impl Iterator<Item = String>,
    ) -> Result<Self> {
        let there = |names: &[&str], at: &dyn Fn(&str) -> PathBuf| {
            let names = names.iter().filter(|name| exists(&at(name)));
            names.map(|name| (*name).to_owned()).collect()
        };
        let journal = Self {
            aside: unused(layout),
            had_cluster,
            config: there(&OF_CONFIG, &|name| layout.config().join(name)),
            data: there(&OF_DATA, &|name| layout.data(name)),
            images: images
                .filter(|name| !exists(&layout.data(IMAGES).join(name)))
                .collect(),
            receipt: Receipt::read(layout.data_dir())?,
            // One that is damaged cannot be made current again.
            generation: store.current().ok().flatten().map(|g| g.number()),
            brought: None,
        };
        private_directory(layout.config())?;
        private_directory(layout.data_dir())?;
        journal.write(layout)?;
        Ok(journal)
    }

    /// Reads it; `None` if no restore is under way.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>> {
        let file = layout.data(NAME);
        let Some(text) = read_if_there(&file)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::new(Kind::Input, format!("{}: {e}", file.display()))
                .expected("the record of a restore that was interrupted")
                .hint("use the release that began to restore")
        })
    }

    fn write(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
        replace(&layout.data(NAME), format!("{text}\n").as_bytes(), 0o600)
    }

    /// The directories that hold the replaced cluster; `None` if there was none.
    pub(super) fn kept(&self, layout: &Layout) -> Option<[PathBuf; 2]> {
        self.had_cluster.then(|| self.directories(layout))
    }

    fn directories(&self, layout: &Layout) -> [PathBuf; 2] {
        [layout.config().join(&self.aside), layout.data(&self.aside)]
    }

    /// Everything that a restore moves: whether it was there, its place, and where it is kept.
    pub(super) fn moves(&self, layout: &Layout) -> Vec<(bool, PathBuf, PathBuf)> {
        let [config, data] = self.directories(layout);
        let of_config = OF_CONFIG.iter().map(|name| {
            let place = layout.config().join(name);
            (self.config.contains(*name), place, config.join(name))
        });
        let of_data = OF_DATA.iter().map(|name| {
            (
                self.data.contains(*name),
                layout.data(name),
                data.join(name),
            )
        });
        of_config.chain(of_data).collect()
    }

    /// Moves what is there aside.
    pub(super) fn take(&self, layout: &Layout) -> Result<()> {
        for directory in self.directories(layout) {
            private_directory(&directory)?;
        }
        for (was_there, place, kept) in self.moves(layout) {
            if was_there {
                fs::rename(place, kept)?;
            }
        }
        Ok(())
    }

    /// Records that everything of a backup is in its place. Afterwards all that is on disk, and the restore is not undone any more.
    pub(super) fn bring(&mut self, backup: Sha256, layout: &Layout) -> Result<()> {
        for directory in [layout.config(), layout.data_dir()] {
            let open = fs::File::open(directory)?;
            rustix::fs::syncfs(open.file())
                .map_err(std::io::Error::from)
                .about(|| directory.display())?;
        }
        self.brought = Some(backup);
        self.write(layout)?;
        self.clear(layout)
    }

    /// Removes the directories aside if no cluster was replaced: they are empty then.
    fn clear(&self, layout: &Layout) -> Result<()> {
        if self.had_cluster {
            return Ok(());
        }
        let mut directories = self.directories(layout).into_iter();
        directories.try_for_each(|directory| remove_tree(&directory))
    }

    /// Forgets the record, and the directories aside if no cluster was replaced.
    pub(super) fn end(&self, layout: &Layout) -> Result<()> {
        self.clear(layout)?;
        forget(layout)
    }

    /// Makes everything as it was. If this is interrupted, it can be done again: what was there is in its place or aside.
    pub(super) fn undo(&self, layout: &Layout, machine: &Machine, store: &Store) -> Result<()> {
        for (was_there, place, kept) in self.moves(layout) {
            if exists(&kept) {
                remove(layout, machine, &place)?;
                fs::rename(kept, place)?;
            } else if !was_there {
                remove(layout, machine, &place)?;
            }
        }
        for name in &self.images {
            remove_if_there(&layout.data(IMAGES).join(name))?;
        }
        // As far as it was made for them.
        let _ = fs::remove_dir(layout.data(IMAGES));
        for name in [SCRATCH, NEW_DATA] {
            remove_tree(&layout.data(name))?;
        }
        if let Some(receipt) = &self.receipt
            && Receipt::read(layout.data_dir())?.as_ref() != Some(receipt)
        {
            receipt.write(layout.data_dir())?;
        }
        if let Some(number) = self.generation {
            store.activate(&store.generation(number)?)?;
        }
        for directory in self.directories(layout) {
            remove_tree(&directory)?;
        }
        forget(layout)
    }
}

/// A name that neither directory has yet. The clock may be the same as when another cluster was replaced, and this one's files
/// must not come among those.
fn unused(layout: &Layout) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    let mut names = (seconds..).map(|number| format!("replaced-{number}"));
    let is_new =
        |name: &String| !exists(&layout.config().join(name)) && !exists(&layout.data(name));
    names.find(is_new).unwrap_or_default()
}

/// Whether there is something, even a link that leads nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn forget(layout: &Layout) -> Result<()> {
    let file = layout.data(NAME);
    remove_if_there(&file)?;
    sync_parent(&file)
}

/// Volumes have files of subordinate ids.
fn remove(layout: &Layout, machine: &Machine, path: &Path) -> Result<()> {
    if remove_tree(path).is_err() {
        install::remove_in_namespace(layout, machine, path)?;
    }
    Ok(())
}

/// Completes or undoes a restore that was interrupted. Does nothing while it is still under way.
pub fn settle(machine: &Machine, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?;
    if !store.dir().join(NAME).exists() {
        return Ok(());
    }
    check_owner()?;
    let store = match store.locked() {
        // That is the restore, or another command that settles it.
        Err(error) if error.kind() == Kind::Busy => return Ok(()),
        store => store?,
    };
    let layout = present(&store, machine)?;
    match Journal::read(&layout)? {
        None => Ok(()),
        Some(journal) => settle_locked(&journal, &layout, machine, &store, progress),
    }
}

/// Does what [`settle`] does, with the store's lock.
pub(super) fn settle_locked(
    journal: &Journal,
    layout: &Layout,
    machine: &Machine,
    store: &Store,
    progress: &Progress,
) -> Result<()> {
    if journal.brought.is_some() {
        return journal.end(layout);
    }
    store.sign()?;
    journal.undo(layout, machine, store)?;
    progress.line("a restore was interrupted: everything is again as it was before");
    Ok(())
}
