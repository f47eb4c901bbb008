//! Enters the namespaces that RootlessKit has created.

use std::env;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::supervise::Supervisor;
use crate::error::{Context, Error, Kind, Result};
use crate::layout::Layout;
use crate::services::Namespaces;

/// The file to which RootlessKit writes the PID of the first process in the namespaces.
pub(crate) const CHILD_PID: &str = "child_pid";

/// The namespaces as flags of the kernel.
fn kinds(namespaces: Namespaces) -> ThreadNameSpaceType {
    use ThreadNameSpaceType as T;
    match namespaces {
        Namespaces::Host => T::empty(),
        Namespaces::Network => T::USER | T::NETWORK,
        Namespaces::Files => T::USER | T::NETWORK | T::MOUNT,
        Namespaces::All => {
            T::USER
                | T::MOUNT
                | T::NETWORK
                | T::CONTROL_GROUP
                | T::PROCESS_ID
                | T::INTER_PROCESS_COMMUNICATION
                | T::HOST_NAME_AND_NIS_DOMAIN_NAME
        }
    }
}

/// Runs a program in the namespaces, in the current directory, and returns its exit code: 128 + n if signal n ended it. With
/// other namespaces than [`Namespaces::All`], the program replaces this process, and the function returns only on failure.
pub fn enter(layout: &Layout, namespaces: Namespaces, command: Command) -> Result<u8> {
    join(layout, namespaces)?;
    run_joined(namespaces, command)
}

/// The second half of [`enter`], for callers that do something in the namespaces first.
pub(crate) fn run_joined(namespaces: Namespaces, command: Command) -> Result<u8> {
    match namespaces {
        Namespaces::Host | Namespaces::Network | Namespaces::Files => {
            Err(replace_this_process(command))
        }
        Namespaces::All => Ok(Supervisor::new()?.run(command, |_| ())?.code),
    }
}

/// Replaces this process with a program. Returns only on failure.
pub(crate) fn replace_this_process(mut command: Command) -> Error {
    Error::from(command.exec()).about(format!("`{}`", command.get_program().display()))
}

/// Moves this process, which must have a single thread, into the namespaces. The current directory stays.
pub(crate) fn join(layout: &Layout, namespaces: Namespaces) -> Result<()> {
    let rootlesskit_dir = &layout.rootlesskit();
    let cwd = env::current_dir().about(|| "cannot find the current directory")?;
    let pid = child_pid(rootlesskit_dir)?;
    let entered = pidfd_open(pid, PidfdFlags::empty())
        .and_then(|process| move_into_thread_name_spaces(process.as_fd(), kinds(namespaces)));
    match entered {
        Ok(()) => {}
        // A RootlessKit that was killed leaves the file behind. No process has its PID any more.
        Err(Errno::SRCH) => return Err(not_running(rootlesskit_dir)),
        Err(error) => {
            return Err(Error::from(std::io::Error::from(error))
                .about(format!("cannot enter the namespaces of process {pid}"))
                .hint("restart RootlessKit with `usernetes restart rootlesskit`; the kernel must be 5.8 or later"));
        }
    }
    if namespaces != Namespaces::Network {
        env::set_current_dir(&cwd)
            .about(|| format!("cannot change to `{}` inside the namespaces", cwd.display()))
            .hint(|| "change to a directory below your home first".to_owned())?;
    }
    Ok(())
}

/// The PID of RootlessKit's child, the first process in the namespaces.
pub(crate) fn child_pid(rootlesskit_dir: &Path) -> Result<Pid> {
    let path = rootlesskit_dir.join(CHILD_PID);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_running(rootlesskit_dir));
        }
        Err(error) => return Err(error.into()),
    };
    text.trim()
        .parse()
        .ok()
        .filter(|&pid| pid > 1)
        .and_then(Pid::from_raw)
        .ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("`{}` does not contain a PID", path.display()),
            )
            .expected("a PID")
            .found(format!("`{}`", text.trim()))
            .hint("restart RootlessKit with `usernetes restart rootlesskit`")
        })
}

fn not_running(rootlesskit_dir: &Path) -> Error {
    Error::new(Kind::Failed, "RootlessKit is not running")
        .detail("state", rootlesskit_dir.display())
        .hint("start the cluster with `usernetes start`, or look at `usernetes logs rootlesskit`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(dir: &Path) -> Layout {
        fs::create_dir_all(dir.join("rootlesskit")).unwrap();
        Layout::new("/c".into(), "/d".into(), dir.into(), "/g".into()).unwrap()
    }

    #[test]
    fn without_rootlesskit_the_error_says_how_to_start_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = join(&layout(dir.path()), Namespaces::Network).unwrap_err();
        assert_eq!(error.message(), "RootlessKit is not running");
        assert!(error.to_string().contains("usernetes start"));
    }

    #[test]
    fn a_damaged_pid_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        for bad in ["", "init", "-4", "0", "1"] {
            fs::write(layout.rootlesskit().join(CHILD_PID), bad).unwrap();
            let error = join(&layout, Namespaces::All).unwrap_err().to_string();
            assert!(
                error.contains("child_pid` does not contain a PID"),
                "{error}"
            );
        }
    }
}
