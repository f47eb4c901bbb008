//! Snapshots of etcd's data from before another generation's etcd used it.
//!
//! ```text
//! etcd/                      the data
//! etcd-user.json             the generation that used it last, with the versions of its programs
//! snapshots/<n>/etcd/        the data as generation n left it
//! snapshots/<n>/user.json    that generation and its versions, and the time
//! ```
//!
//! `boot` calls [`before_etcd`] at every start of etcd, so no path leads around it. The copy is made while nothing uses the
//! data, so every acknowledged write is in it. [`restore`] exchanges the data for a snapshot and keeps both.

mod copy;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cluster::Versions;
use crate::error::{Context as _, Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::files::{private_directory, remove_tree, replace};
use crate::layout::Layout;
use crate::pki::rfc3339;
use crate::store::Generation;
use copy::{copy_tree, size_of, sync_parent};

/// How many snapshots are kept. The oldest are removed when a new one is made.
const KEPT: usize = 3;

/// The last user of data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The number of its generation.
    pub generation: u64,
    /// The versions of its programs.
    pub versions: Versions,
    /// When the snapshot was made, RFC 3339 in UTC; empty for data that is in use.
    pub taken: String,
}

impl User {
    /// A generation as the user of data.
    #[must_use]
    pub fn of(generation: &Generation) -> Self {
        Self {
            generation: generation.number(),
            versions: Versions::of(generation.manifest()),
            taken: String::new(),
        }
    }

    fn read(file: &Path) -> Result<Option<Self>> {
        let Some(text) = read_if_there(file)? else {
            return Ok(None);
        };
        let user = serde_json::from_str(&text);
        user.map(Some).map_err(|e| {
            Error::new(Kind::Input, format!("{}: {e}", file.display()))
                .expected("the record that etcd's start makes")
                .hint(format!(
                    "remove it: `rm {}`; the next start makes it again",
                    file.display()
                ))
        })
    }

    fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Failed, e.to_string()))?;
        replace(file, format!("{text}\n").as_bytes(), 0o600)
    }
}

fn data(layout: &Layout) -> PathBuf {
    layout.data("etcd")
}

fn user_file(layout: &Layout) -> PathBuf {
    layout.data("etcd-user.json")
}

fn place(layout: &Layout, generation: u64) -> PathBuf {
    layout.data("snapshots").join(generation.to_string())
}

/// The last user of the data; `None` if there is no data, or only an earlier release has used it.
pub fn last_user(layout: &Layout) -> Result<Option<User>> {
    if !data(layout).join("member").exists() {
        return Ok(None);
    }
    User::read(&user_file(layout))
}

/// Records the user of data that has no record, because only earlier releases have used it. Afterwards it is on disk.
pub fn remember_user(layout: &Layout, generation: &Generation) -> Result<()> {
    if !data(layout).join("member").exists() || user_file(layout).exists() {
        return Ok(());
    }
    User::of(generation).write(&user_file(layout))
}

/// The snapshot that a generation left, if there is one.
pub fn of_generation(layout: &Layout, generation: u64) -> Result<Option<User>> {
    let place = place(layout, generation);
    if !place.join("etcd/member").exists() {
        return Ok(None);
    }
    User::read(&place.join("user.json"))
}

/// The snapshot that a generation left, or the error that there is none.
pub fn need(layout: &Layout, generation: u64) -> Result<User> {
    of_generation(layout, generation)?.ok_or_else(|| no_snapshot(generation))
}

/// Makes a snapshot if another generation used the data last, and records this one as its user. Nothing may use the data
/// meanwhile. Afterwards both are on disk. Gives the snapshot.
pub fn before_etcd(layout: &Layout, generation: &Generation) -> Result<Option<User>> {
    let next = User::of(generation);
    let last = last_user(layout)?;
    let snapshot = match last {
        Some(last) if last.generation != next.generation => Some(take(layout, last)?),
        _ => None,
    };
    next.write(&user_file(layout))?;
    Ok(snapshot)
}

fn take(layout: &Layout, user: User) -> Result<User> {
    let place = place(layout, user.generation);
    let new = place.with_extension("new");
    remove_tree(&new)?;
    let snapshots = layout.data("snapshots");
    private_directory(&snapshots)?;
    check_space(layout)?;
    let taken = rfc3339(SystemTime::now());
    let user = User { taken, ..user };
    let made = private_directory(&new)
        .and_then(|()| copy_tree(&data(layout), &new.join("etcd")))
        .and_then(|()| user.write(&new.join("user.json")));
    if let Err(error) = made {
        let _ = remove_tree(&new);
        return Err(error).about(|| "cannot make a snapshot of etcd's data");
    }
    remove_tree(&place)?;
    fs_err::rename(&new, &place)?;
    sync_parent(&place)?;
    prune(&snapshots)?;
    Ok(user)
}

/// Fails if the disk has no room for a copy of the data. Changes nothing.
pub fn check_space(layout: &Layout) -> Result<()> {
    let needed = size_of(&data(layout))?;
    let dir = layout.data("");
    let Ok(disk) = rustix::fs::statvfs(&dir) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let bytes = crate::progress::bytes;
    Err(Error::new(
        Kind::Host,
        format!(
            "{}: there is no room for a snapshot of etcd's data",
            dir.display()
        ),
    )
    .expected(format!("{} free", bytes(needed)))
    .found(bytes(free))
    .hint("free some space, for example with `usernetes gc`, and run the same command again"))
}

/// Removes the oldest snapshots.
fn prune(snapshots: &Path) -> Result<()> {
    let mut found = Vec::new();
    for path in crate::files::contents(snapshots)? {
        if let Some(user) = User::read(&path.join("user.json")).ok().flatten() {
            found.push((user.taken, path));
        }
    }
    found.sort();
    let surplus = found.len().saturating_sub(KEPT);
    for (_, path) in &found[..surplus] {
        remove_tree(path)?;
    }
    Ok(())
}

/// Exchanges the data for the snapshot that a generation left. The present data becomes a snapshot of its own user, so
/// nothing is lost, and the restored snapshot stays. Nothing may use the data meanwhile. If it is interrupted, the data is
/// one of the two, and the next call completes it.
pub fn restore(layout: &Layout, generation: u64) -> Result<User> {
    let snapshot = need(layout, generation)?;
    let (data, file) = (data(layout), user_file(layout));
    let new = data.with_extension("new");
    remove_tree(&new)?;
    check_space(layout)?;
    copy_tree(&place(layout, generation).join("etcd"), &new)
        .about(|| "cannot restore the snapshot of etcd's data")?;
    if let Some(present) = last_user(layout)?
        && present.generation != generation
    {
        take(layout, present)?;
    }
    let old = data.with_extension("old");
    remove_tree(&old)?;
    if data.exists() {
        fs_err::rename(&data, &old)?;
    }
    fs_err::rename(&new, &data)?;
    sync_parent(&data)?;
    let user = User {
        taken: String::new(),
        ..snapshot.clone()
    };
    user.write(&file)?;
    remove_tree(&old)?;
    Ok(snapshot)
}

fn no_snapshot(generation: u64) -> Error {
    Error::new(
        Kind::Failed,
        format!("there is no snapshot of etcd's data from generation {generation}"),
    )
    .expected("one that was made when the next generation replaced it")
    .hint("restore a backup with `usernetes restore FILE`, or stay with the present generation")
}

#[cfg(test)]
mod tests;
