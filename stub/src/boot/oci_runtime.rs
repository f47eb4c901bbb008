//! crun as container runtimes can use it in a user namespace: CRI-O, and containerd where no cgroup can be made.
//!
//! The kubelet gives important containers a low score for the case that memory runs out, and CRI-O, unlike containerd with
//! `restrict_oom_score_adj`, passes it on as it is. The kernel does not let a user lower the score a process has been given
//! by its parent, so crun would fail with `write to /proc/self/oom_score_adj: Permission denied`. What CRI-O runs is
//! therefore this program, which raises scores to the lowest that is possible and becomes crun.
//!
//! containerd calls it by another name, by which it knows that crun must make no cgroups.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::components::{containerd, crio};
use crate::error::{Context, Error, Result};
use crate::files::{remove_if_there, write_atomically};
use crate::layout::Layout;
use crate::process::namespaces::replace_this_process;

/// Makes a link by whose name this program knows what it is. It leads to the generation, where crun is.
pub(super) fn link(layout: &Layout, link: &Path) -> Result<()> {
    remove_if_there(link)?;
    Ok(fs_err::os::unix::fs::symlink(
        layout.program("usernetes"),
        link,
    )?)
}

/// If this process was started as an OCI runtime, it becomes crun; then this only returns on failure.
#[must_use]
pub fn as_oci_runtime() -> Option<Error> {
    let mut arguments = env::args_os();
    let name = PathBuf::from(arguments.next()?);
    let options: &[&str] = match name.file_name().and_then(OsStr::to_str)? {
        crio::OCI_RUNTIME => &[],
        containerd::OCI_RUNTIME => &["--cgroup-manager=disabled"],
        _ => return None,
    };
    Some(become_crun(&name, options, &arguments.collect::<Vec<_>>()))
}

fn become_crun(link: &Path, options: &[&str], arguments: &[OsString]) -> Error {
    let prepared = fs::read_link(link)
        .map_err(Error::from)
        .and_then(|usernetes| {
            if let Some((file, at)) = process_of(arguments) {
                raise_score(&file, at, own_score()?).about(|| file.display())?;
            }
            Ok(usernetes.with_file_name("crun"))
        });
    match prepared {
        Ok(crun) => {
            let mut command = Command::new(crun);
            command.args(options).args(arguments);
            replace_this_process(command)
        }
        Err(error) => error,
    }
}

/// The file that describes the process to be started, and where in it that is: a bundle's `config.json`, or for `exec` a
/// file with nothing else (OCI runtime command line interface).
fn process_of(arguments: &[OsString]) -> Option<(PathBuf, &'static str)> {
    let value = |names: [&str; 2]| {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if names.iter().any(|name| argument == name) {
                return arguments.next().map(PathBuf::from);
            }
            let value = argument
                .to_str()
                .and_then(|text| text.strip_prefix(names[0])?.strip_prefix('='));
            if value.is_some() {
                return value.map(PathBuf::from);
            }
        }
        None
    };
    let command = |name: &str| arguments.iter().any(|argument| argument == name);
    if command("create") || command("run") || command("restore") {
        let bundle = value(["--bundle", "-b"]).unwrap_or_else(|| ".".into());
        Some((bundle.join("config.json"), "/process/oomScoreAdj"))
    } else if command("exec") {
        Some((value(["--process", "-p"])?, "/oomScoreAdj"))
    } else {
        None
    }
}

/// The lowest score this process can give.
fn own_score() -> Result<i64> {
    let path = "/proc/self/oom_score_adj";
    let text = fs::read_to_string(path)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
        .about(|| path)
}

fn raise_score(file: &Path, at: &str, lowest: i64) -> Result<()> {
    let mut description: Value =
        serde_json::from_slice(&fs::read(file)?).map_err(io::Error::from)?;
    match description.pointer_mut(at) {
        Some(score) if score.as_i64().is_some_and(|score| score < lowest) => {
            *score = lowest.into();
        }
        _ => return Ok(()),
    }
    write_atomically(file, description.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_is_started_is_found_on_the_command_line() {
        for (line, file) in [
            (
                "--root=/run/crun create --bundle /b --pid-file /p id",
                Some("/b/config.json"),
            ),
            ("create -b /b id", Some("/b/config.json")),
            ("run --bundle=/b id", Some("/b/config.json")),
            ("create id", Some("./config.json")),
            ("exec --pid-file /p --process /t/exec id", Some("/t/exec")),
            ("exec id ls", None),
            ("kill id 9", None),
        ] {
            let found = process_of(&words(line)).map(|(file, _)| file);
            assert_eq!(found, file.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn only_a_score_that_is_too_low_is_raised() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        for (before, after) in [
            (r#"{"a":1,"process":{"oomScoreAdj":-997}}"#, 200),
            (r#"{"a":1,"process":{"oomScoreAdj":999}}"#, 999),
        ] {
            fs::write(&file, before).unwrap();
            raise_score(&file, "/process/oomScoreAdj", 200).unwrap();
            let now: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(now["process"]["oomScoreAdj"], after);
            assert_eq!(now["a"], 1);
        }
        let without = r#"{ "process": {} }"#;
        fs::write(&file, without).unwrap();
        raise_score(&file, "/process/oomScoreAdj", 200).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), without);
    }
}
