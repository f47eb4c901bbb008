//! Runs programs for the demo and prepares their files.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use stub::child;
use stub::error::{Error, Kind, Result};

/// The first line a program prints.
pub(super) fn first_line(command: &mut Command) -> Result<String> {
    Ok(output(command)?
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// The last line a program prints.
pub(super) fn last_line(command: &mut Command) -> Result<String> {
    Ok(output(command)?
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned())
}

/// Runs a program to its end and gives its stdout. Its stderr goes to ours, where it shows its progress.
pub(super) fn output(command: &mut Command) -> Result<String> {
    child::run(command.stderr(Stdio::inherit()))?.success()
}

/// Has a command make a lockfile. With `--offline`, uses the one that an earlier demo made.
pub(super) fn locked(command: &mut Command, lockfile: &Path, offline: bool) -> Result<String> {
    if !offline {
        return last_line(command);
    }
    if lockfile.is_file() {
        return Ok("locked by an earlier demo".to_owned());
    }
    let what = "no earlier demo has locked this, and `--offline` forbids the network";
    Err(Error::new(Kind::Network, what)
        .expected(lockfile.display())
        .found("no such file")
        .hint("run the demo once with a network"))
}

/// Copies a directory with everything in it, except entries of these names at its top. The copy is new: files are
/// those of the user who runs the demo.
pub(super) fn copy_tree(from: &Path, to: &Path, except: &[&OsStr]) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = to.join(&name);
        let kind = entry.file_type()?;
        if except.contains(&name.as_os_str()) {
            continue;
        }
        if kind.is_dir() {
            copy_tree(&entry.path(), &target, &[])?;
        } else if kind.is_file() {
            fs_err::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
