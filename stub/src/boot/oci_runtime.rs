//! Makes crun work in a user namespace: with CRI-O, and with containerd where no cgroup can be made.
//!
//! The kubelet gives important containers a low OOM score, so that the kernel kills them last when memory runs out. CRI-O
//! passes this score on unchanged, unlike containerd with `restrict_oom_score_adj`. But the kernel does not let a user lower
//! the score that a process has inherited, so crun would fail with `write to /proc/self/oom_score_adj: Permission denied`.
//! Therefore CRI-O runs this program, which raises the score to the lowest possible one and replaces itself with crun.
//!
//! containerd calls this program by another name, which says that crun must not make cgroups.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::files::write_atomically;
use crate::process::namespaces::replace_this_process;
use crate::protocol;

/// Replaces this process with crun if it was started as an OCI runtime; then this returns only on failure. Otherwise returns
/// `None`.
#[must_use]
pub fn as_oci_runtime() -> Option<Error> {
    let mut arguments = env::args_os();
    let name = PathBuf::from(arguments.next()?);
    let options: &[&str] = match name.file_name().and_then(OsStr::to_str)? {
        protocol::OCI_RUNTIME => &[],
        protocol::OCI_RUNTIME_WITHOUT_CGROUPS => &["--cgroup-manager=disabled"],
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

/// The file that describes the process to be started, and the place of its OOM score in this file. It is the bundle's
/// `config.json` or, for `exec`, a file that describes only the process (OCI runtime command line interface).
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

/// The lowest OOM score that this process can set, which is its own.
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
    fn the_file_with_the_process_is_found_in_the_arguments() {
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
