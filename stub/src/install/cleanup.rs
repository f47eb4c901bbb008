//! `show-cleanup-command`

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::remove::present;
use crate::child;
use crate::cluster::{Receipt, first_process};
use crate::error::{Error, Kind, Result};
use crate::files::contents;
use crate::host::Machine;
use crate::shell;
use crate::store::Store;

/// The command that removes data, configuration and programs, for `eval "$(usernetes show-cleanup-command)"`. Fails if the
/// cluster has not been uninstalled, or if no command of the user's could remove all of it.
pub fn cleanup_command(machine: &Machine) -> Result<String> {
    let store = Store::open_default()?;
    let layout = present(&store, machine)?;
    let receipt = Receipt::read(store.dir())?.unwrap_or_default();
    let process = first_process(&layout, machine);
    if process.is_some() || !receipt.units.is_empty() {
        return Err(still_installed(process));
    }
    let data: PathBuf = layout.data("").components().collect();
    let roots = [data.as_path(), layout.config()];
    let rootlesskit = layout.program("rootlesskit");
    // Inside, the user may do everything, even write to the store's read-only directories.
    let mut command = match able(&rootlesskit, machine) {
        Ok(()) => removal(&roots, &format!("{} ", quoted(&rootlesskit))),
        Err(reason) => match of_others(&roots, machine.uid) {
            Some(path) => return Err(needs_namespace(&path, &reason, &roots)),
            None => format!(
                "chmod -R u+w -- {}/. 2>/dev/null; {}",
                quoted(&data),
                removal(&roots, "")
            ),
        },
    };
    // Directories that were made for these two. If another program uses one by now, it is not empty and stays.
    let above = |dir: &PathBuf| dir.exists() && !roots.iter().any(|root| dir.starts_with(root));
    let directories: Vec<_> = receipt
        .directories_of(&layout)
        .into_iter()
        .filter(above)
        .collect();
    if !directories.is_empty() {
        let directories: Vec<_> = directories.iter().map(|d| quoted(d)).collect();
        command.push_str(&format!(
            " && {{ rmdir -- {} 2>/dev/null || :; }}",
            directories.join(" ")
        ));
    }
    Ok(command)
}

fn still_installed(process: Option<Pid>) -> Error {
    let mut error = Error::new(
        Kind::Failed,
        "the cluster is still installed, and this would remove the data that it uses",
    );
    if let Some(pid) = process {
        error = error.detail("process", pid);
    }
    error.hint("run `usernetes uninstall` first, which stops it and removes its units; `usernetes uninstall --purge` does all of it at once")
}

/// The command that removes directories, run by a program that runs others. If a directory is a link, `rm` alone would leave
/// its contents.
fn removal(roots: &[&Path], by: &str) -> String {
    let list = |roots: &[&Path]| {
        let roots: Vec<_> = roots.iter().map(|root| quoted(root)).collect();
        roots.join(" ")
    };
    // Either of them may have been removed already.
    let all = list(roots);
    if !roots.iter().any(|root| root.is_symlink()) {
        return format!("{by}rm -rf -- {all}");
    }
    let there: Vec<_> = roots.iter().copied().filter(|root| root.exists()).collect();
    format!(
        "{by}find -H {} -mindepth 1 -delete && rm -rf -- {all}",
        list(&there)
    )
}

/// Fails with the reason if RootlessKit cannot act as the subordinate ids under which containers have written files.
fn able(rootlesskit: &Path, machine: &Machine) -> std::result::Result<(), String> {
    if !rootlesskit.exists() {
        return Err(format!("there is no {}", rootlesskit.display()));
    }
    for program in ["newuidmap", "newgidmap"] {
        if machine.find(program).is_none() {
            return Err(format!("there is no `{program}` in PATH"));
        }
    }
    let ended = child::run(machine.command(rootlesskit).arg("true"));
    let ended = ended.map_err(|e| e.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    let said = ended.said();
    let last = said.lines().last().unwrap_or_default();
    Err(format!("RootlessKit does not work here: {last}"))
}

/// The first file in the directories that does not belong to the user.
fn of_others(roots: &[&Path], uid: u32) -> Option<PathBuf> {
    let mut waiting: Vec<PathBuf> = roots.iter().map(|root| root.join("")).collect();
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = fs_err::symlink_metadata(&path) else {
            continue;
        };
        if metadata.uid() != uid {
            return Some(path);
        }
        if metadata.is_dir() {
            waiting.extend(contents(&path).unwrap_or_default());
        }
    }
    None
}

fn needs_namespace(path: &Path, reason: &str, roots: &[&Path]) -> Error {
    let roots: Vec<_> = roots.iter().map(|root| quoted(root)).collect();
    Error::new(
        Kind::Host,
        format!("{} was written by a container, and only RootlessKit or root can remove it", path.display()),
    )
    .detail("because", reason)
    .hint(format!(
        "run `usernetes doctor`, which shows what is missing and how to fix it; or ask an administrator to run `rm -rf -- {}`",
        roots.join(" ")
    ))
}

/// A path as one word of a shell, without a slash at its end.
pub(super) fn quoted(path: &Path) -> String {
    shell::word(path.display().to_string().trim_end_matches('/'))
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

    #[test]
    fn what_belongs_to_others_is_found_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("a/b")).unwrap();
        let uid = fs_err::metadata(dir.path()).unwrap().uid();
        let [here, nowhere] = ["a", "nowhere"].map(|name| dir.path().join(name));
        assert_eq!(of_others(&[&here, &nowhere], uid), None);
        assert_eq!(of_others(&[&nowhere, &here], uid + 1), Some(here.join("")));
    }
}
