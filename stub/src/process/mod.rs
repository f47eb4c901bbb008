//! Runs the programs of a generation: in RootlessKit's namespaces, passing signals on and reporting readiness.

pub(crate) mod namespaces;
pub(crate) mod notify;
pub(crate) mod supervise;
pub(crate) mod supervised;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::components;
use crate::error::Result;
use crate::files::remove_if_there;
use crate::layout::Layout;
use crate::output;

pub use namespaces::enter;
pub(crate) use namespaces::{CHILD_PID, child_pid};

/// A command of the generation, with the environment variables that services need.
pub(crate) fn command(layout: &Layout, args: Vec<String>) -> Command {
    let mut args = args.into_iter();
    let mut command = Command::new(args.next().unwrap_or_default());
    command.args(args).envs(environment(layout));
    command
}

/// Makes a link to this program. By the link's name, it recognizes the program in whose place it is called. The link leads to the
/// generation, which contains the other programs.
pub(crate) fn link(layout: &Layout, link: &Path) -> Result<()> {
    remove_if_there(link)?;
    Ok(fs_err::os::unix::fs::symlink(
        layout.program("usernetes"),
        link,
    )?)
}

/// The generation's `crictl`, for the container runtime with this socket.
pub(crate) fn crictl(layout: &Layout, socket: &Path) -> Command {
    let mut command = Command::new(layout.program("crictl"));
    command.envs(components::cri_environment(socket));
    command
}

/// The environment variables with which a generation's programs find each other: `PATH` and, if the bundle contains any, the
/// directories of shared libraries and of iptables' extensions. Static programs need only `PATH`.
pub(crate) fn environment(layout: &Layout) -> Vec<(&'static str, OsString)> {
    let mut environment = vec![("PATH", search_path(layout, env::var_os("PATH")))];
    for (variable, place) in [
        ("LD_LIBRARY_PATH", "lib"),
        ("XTABLES_LIBDIR", "libexec/host/xtables"),
    ] {
        let directory = layout.generation().join(place);
        if directory.is_dir() {
            environment.push((variable, directory.into()));
        }
    }
    environment
}

/// The directories of the generation's programs, then the host's. Only the host can provide `newuidmap` and `newgidmap`.
fn search_path(layout: &Layout, inherited: Option<OsString>) -> OsString {
    let mut path = OsString::new();
    for directory in [
        layout.generation().join("libexec/host"),
        layout.generation().join("bin"),
    ] {
        path.push(directory);
        path.push(":");
    }
    if let Some(inherited) = inherited.filter(|inherited| !inherited.is_empty()) {
        path.push(inherited);
        path.push(":");
    }
    path.push("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// Writes a line to the journal.
pub(crate) fn say(text: impl AsRef<str>) {
    output::message(&format!("usernetes: {}", text.as_ref()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn the_generations_programs_come_before_the_hosts() {
        let layout = Layout::new("/c".into(), "/d".into(), "/r".into(), "/g".into()).unwrap();
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        for (inherited, between) in [
            (None, ""),
            (Some(""), ""),
            (Some("/run/wrappers/bin"), "/run/wrappers/bin:"),
        ] {
            let path = search_path(&layout, inherited.map(Into::into));
            assert_eq!(
                path.to_str().unwrap(),
                format!("/g/libexec/host:/g/bin:{between}{system}")
            );
        }
    }

    #[test]
    fn library_paths_are_set_only_if_the_bundle_contains_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let names = || {
            let generation = dir.path().to_owned();
            let layout = Layout::new("/c".into(), "/d".into(), "/r".into(), generation).unwrap();
            let names = environment(&layout).into_iter().map(|(name, _)| name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(), ["PATH"]);
        fs::create_dir_all(dir.path().join("libexec/host/xtables")).unwrap();
        fs::create_dir(dir.path().join("lib")).unwrap();
        assert_eq!(names(), ["PATH", "LD_LIBRARY_PATH", "XTABLES_LIBDIR"]);
    }
}
