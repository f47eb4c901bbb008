//! Uninstalling.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Receipt, layout, stop};
use crate::boot::child_pid;
use crate::error::{Context, Error, Kind, Result};
use crate::files::{contents, remove_if_there, remove_tree};
use crate::host::Machine;
use crate::layout::Layout;
use crate::progress::Progress;
use crate::services::all_unit_names;
use crate::store::Store;
use crate::systemd::Systemd;

/// What in the data directory is not data.
const PROGRAMS: [&str; 3] = ["store", "generations", "current"];

/// Stops everything and removes the units that `install` wrote; with `purge` also programs, configuration, keys and
/// data. Then looks whether anything is left: what is, is the error. Works on what an interrupted run has left.
pub fn uninstall(purge: bool, machine: &Machine, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    let generation = store.current().ok().flatten();
    let path = generation.map_or_else(|| store.current_link(), |g| g.path().to_owned());
    let layout = layout(machine, path)?;
    let receipt = Receipt::read(store.dir())?;
    let systemd = match Systemd::of(machine).and_then(|s| s.units(&["u7s.target"]).map(|_| s)) {
        Ok(systemd) => Some(systemd),
        Err(error) => {
            nothing_runs(&layout, machine, &error)?;
            None
        }
    };
    store.sign()?;
    match &receipt {
        Some(receipt) if !receipt.units.is_empty() => {
            remove_units(&layout, receipt, systemd.as_ref(), progress)?;
        }
        _ => progress.line("no units were installed"),
    }
    remove_tree(&layout.runtime(""))?;
    if purge {
        self::purge(&layout, machine, progress)?;
    }
    let receipt = receipt.unwrap_or_default();
    // The deepest first. One that somebody else uses by now is not empty, and stays.
    for directory in receipt.directories.iter().rev() {
        let _ = fs_err::remove_dir(directory);
    }
    let left = residue(&layout, purge)?;
    if left.is_empty() && !purge && receipt != Receipt::default() {
        // What data were made with, and which directories are to go with them, must be known as long as they are there.
        receipt.without_units().write(store.dir())?;
    }
    if left.is_empty() {
        progress.line(if purge {
            "everything was removed"
        } else {
            "units were removed; programs, configuration and data are still there"
        });
        return Ok(());
    }
    let mut error = Error::new(Kind::Failed, "not everything could be removed");
    for path in &left {
        error = error.detail("left", path.display());
    }
    Err(error.hint("look at each of them: a unit that was changed since it was installed is not removed, nor is what others have put there"))
}

/// Fails if the cluster runs, although the service manager could not be asked because of `error`.
fn nothing_runs(layout: &Layout, machine: &Machine, error: &Error) -> Result<()> {
    let directory = layout.rootlesskit();
    let Ok(pid) = child_pid(&directory) else {
        return Ok(());
    };
    // Inside its namespaces it is root; outside it is the user.
    let process = PathBuf::from(format!("/proc/{pid}"));
    if !fs_err::metadata(process).is_ok_and(|m| m.uid() == machine.uid) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        "the cluster cannot be stopped: your service manager does not answer, and it runs",
    )
    .detail("process", pid)
    .detail("because", error.message())
    .hint(format!(
        "log in so that `systemctl --user` works and try again; if that process is none of the cluster's, remove {}",
        directory.display()
    )))
}

/// Stops what runs, and removes the unit files. Without a service manager nothing of it runs.
fn remove_units(
    layout: &Layout,
    receipt: &Receipt,
    systemd: Option<&Systemd>,
    progress: &Progress,
) -> Result<()> {
    if let Some(systemd) = systemd {
        stop(systemd, progress)?;
        if !receipt.enabled.is_empty() {
            systemd.run(
                ["--no-reload", "disable"]
                    .into_iter()
                    .chain(receipt.enabled.iter().map(String::as_str)),
            )?;
        }
    } else {
        // What `disable` would have removed.
        let wants = super::unit_dir(layout).join("default.target.wants");
        for name in &receipt.enabled {
            remove_if_there(&wants.join(name))?;
        }
    }
    for path in receipt.remove_units()? {
        progress.line(format!(
            "{} was changed since it was installed, and stays",
            path.display()
        ));
    }
    if let Some(systemd) = systemd {
        systemd.run(["daemon-reload"])?;
        if receipt.linger
            && let Err(error) = systemd.linger(false)
        {
            progress.line(format!("lingering stays on: {error}"));
        }
    }
    Ok(())
}

/// Removes data, configuration and programs, the programs last: RootlessKit is one of them.
fn purge(layout: &Layout, machine: &Machine, progress: &Progress) -> Result<()> {
    let wait = progress.wait("remove data");
    let data = layout.data("");
    for path in contents(&data)? {
        if !PROGRAMS.iter().any(|name| path.ends_with(name)) && remove_tree(&path).is_err() {
            remove_in_namespace(layout, machine, &path)?;
        }
    }
    remove_tree(&data)?;
    remove_tree(layout.config())?;
    wait.finish("done");
    Ok(())
}

/// Removes what containers have written: it belongs to subordinate ids, so only in a user namespace can it be removed
/// without root. RootlessKit makes one.
fn remove_in_namespace(layout: &Layout, machine: &Machine, path: &Path) -> Result<()> {
    let by_hand = || format!("`sudo rm -rf {}` removes it", quoted(path));
    let rootlesskit = layout.program("rootlesskit");
    let mut command = machine.command(&rootlesskit);
    let output = command.args(["rm", "-rf", "--"]).arg(path).output();
    let output = output
        .about(|| rootlesskit.display().to_string())
        .hint(by_hand)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(
        Kind::Failed,
        format!("{}: cannot be removed", path.display()),
    )
    .detail("rootlesskit", said.lines().last().unwrap_or_default())
    .hint(by_hand()))
}

/// The command that removes data, configuration and programs, for `eval "$(usernetes show-cleanup-command)"`.
pub fn cleanup_command(machine: &Machine) -> Result<String> {
    let store = Store::open_default()?;
    let generation = store.current().ok().flatten();
    let path = generation.map_or_else(|| store.current_link(), |g| g.path().to_owned());
    let layout = layout(machine, path)?;
    let rootlesskit = layout.program("rootlesskit");
    let (data, config) = (quoted(&layout.data("")), quoted(layout.config()));
    let mut command = if rootlesskit.exists() {
        // Inside, its user may do everything: also write to the store's read-only directories.
        format!("{} rm -rf -- {data} {config}", quoted(&rootlesskit))
    } else {
        // Either may be gone already.
        format!("chmod -R u+w -- {data} 2>/dev/null; rm -rf -- {data} {config}")
    };
    let receipt = Receipt::read(store.dir())?.unwrap_or_default();
    // Those that were made for these two. One that somebody else uses by now is not empty, and stays.
    let above = |dir: &&PathBuf| {
        let (data, config) = (layout.data(""), layout.config());
        dir.exists() && !dir.starts_with(data) && !dir.starts_with(config)
    };
    let directories: Vec<_> = receipt.directories.iter().rev().filter(above).collect();
    if !directories.is_empty() {
        let directories: Vec<_> = directories.into_iter().map(|d| quoted(d)).collect();
        let directories = directories.join(" ");
        command.push_str(&format!(
            " && {{ rmdir -- {directories} 2>/dev/null || :; }}"
        ));
    }
    Ok(command)
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let text = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What of ours is still there.
fn residue(layout: &Layout, purged: bool) -> Result<Vec<PathBuf>> {
    let unit_dir = super::unit_dir(layout);
    let names = all_unit_names();
    let mut left = Vec::new();
    for dir in [unit_dir.join("default.target.wants"), unit_dir] {
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            names.contains(
                name.trim_start_matches('.')
                    .trim_end_matches(".new")
                    .trim_end_matches(".d"),
            )
        };
        left.extend(contents(&dir)?.into_iter().filter(ours));
    }
    left.extend(Some(layout.runtime("")).filter(|p| p.exists()));
    if purged {
        left.extend(
            [layout.data(""), layout.config().to_owned()]
                .into_iter()
                .filter(|p| p.exists()),
        );
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_one_word_of_a_shell() {
        assert_eq!(
            quoted(Path::new("/home/u/.config/usernetes")),
            "/home/u/.config/usernetes"
        );
        assert_eq!(quoted(Path::new("/home/it's me/")), r"'/home/it'\''s me'");
    }
}
