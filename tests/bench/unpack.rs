//! Unpacking: the bundle and the competitors' files, in turns.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use builder::wording::counted;
use serde::{Deserialize, Serialize};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;
use stub::{child, files};

use crate::competitors::{Packed, STORE};
use crate::machine::FewProcessors;
use crate::times::{Times, seconds};

/// What unpacking took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unpacked {
    /// The whole `install --start=` of the bundle into an empty home. Every byte is verified, and on disk.
    pub(crate) install: Times,
    /// Its phase `unpack`.
    pub(crate) phase: Times,
    /// The competitors that this machine has.
    pub(crate) others: Vec<Other>,
}

/// What unpacking a competitor's file took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Other {
    /// How it is unpacked.
    pub(crate) unpack: &'static str,
    /// Until its program has ended.
    pub(crate) times: Times,
    /// Until its files are on disk, too, as ours are.
    pub(crate) on_disk: Times,
}

impl Unpacked {
    /// The competitor of this name, if this machine has it.
    pub(crate) fn other(&self, unpack: &str) -> Option<&Other> {
        self.others.iter().find(|other| other.unpack == unpack)
    }
}

/// A program of the bundle, in an environment with nothing else.
pub(crate) fn in_home(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home);
    command
}

/// Installs a bundle into a home, without starting anything. Gives the seconds of all of it, and of its phase `unpack`.
pub(crate) fn install(bundle: &Path, home: &Path) -> Result<(f64, f64)> {
    #[derive(Deserialize)]
    struct Report {
        phases: Vec<Phase>,
    }
    #[derive(Deserialize)]
    struct Phase {
        name: String,
        seconds: f64,
    }
    fs_err::create_dir_all(home)?;
    let mut command = in_home(bundle, home);
    command.args(["install", "--start=", "--json"]);
    let started = Instant::now();
    let ended = child::run(command.stdin(Stdio::null()))?;
    let seconds = started.elapsed().as_secs_f64();
    let report: Report = serde_json::from_str(&ended.success()?).map_err(std::io::Error::from)?;
    let phase = report.phases.iter().find(|phase| phase.name == "unpack");
    let phase = phase.ok_or_else(|| {
        Error::new(Kind::Failed, "`install` reports no phase `unpack`")
            .hint("it must install into an empty home")
    })?;
    Ok((seconds, phase.seconds))
}

/// Unpacks everything in turns, so many times, on as many processors as the promises name. `data` is what was packed.
pub(crate) fn measure(
    bundle: &Path,
    packed: &[Packed],
    data: &Path,
    rounds: usize,
    work: &Path,
    progress: &Progress,
) -> Result<Unpacked> {
    let _few = FewProcessors::begin()?;
    let packed: Vec<_> = packed.iter().filter(|p| p.missing.is_none()).collect();
    let whole = size_of_files(&data.join(STORE))?;
    let wait = progress.wait("unpack");
    let (mut install_times, mut phases) = (Vec::new(), Vec::new());
    let mut others = vec![(Vec::new(), Vec::new()); packed.len()];
    for round in 1..=rounds {
        let say = |what: &str| wait.say(&format!("round {round} of {rounds}, {what}"));
        say("the bundle");
        let place = empty(&work.join("unpacked"))?;
        let (all, phase) = install(bundle, &place)?;
        install_times.push(all);
        phases.push(phase);
        for (packed, (times, on_disk)) in packed.iter().zip(&mut others) {
            say(packed.unpack);
            let place = empty(&place)?;
            let time = seconds(&mut packed.unpack_into(&place))?;
            let sync = seconds(&mut sync(&place))?;
            times.push(time);
            on_disk.push(time + sync);
            // A program that left something out was not fast.
            let found = size_of_files(&place)?;
            if found != whole {
                let error = Error::new(Kind::Integrity, "this did not unpack what was packed");
                let error = error
                    .about(packed.unpack)
                    .expected(format!("{whole} bytes"));
                return Err(error.found(format!("{found} bytes")));
            }
        }
    }
    files::remove_tree(&work.join("unpacked"))?;
    wait.finish(&counted(rounds, "round"));
    let others = packed.iter().zip(others);
    Ok(Unpacked {
        install: Times::of(install_times),
        phase: Times::of(phases),
        others: others
            .map(|(packed, (times, on_disk))| Other {
                unpack: packed.unpack,
                times: Times::of(times),
                on_disk: Times::of(on_disk),
            })
            .collect(),
    })
}

/// Makes a directory anew and waits until the disk has nothing left to do.
fn empty(place: &Path) -> Result<PathBuf> {
    files::remove_tree(place)?;
    fs_err::create_dir(place)?;
    seconds(&mut sync(place))?;
    Ok(place.to_owned())
}

/// Writes everything to disk that the file system of this path still has in memory.
fn sync(path: &Path) -> Command {
    let mut command = Command::new("sync");
    command.arg("-f").arg(path);
    command
}

/// The bytes of all regular files below a directory.
pub(crate) fn size_of_files(directory: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            size += size_of_files(&entry.path())?;
        } else if kind.is_file() {
            size += entry.metadata()?.len();
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_links_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs_err::create_dir(root.join("a")).unwrap();
        fs_err::write(root.join("a/x"), "1234").unwrap();
        fs_err::write(root.join("y"), "123").unwrap();
        std::os::unix::fs::symlink("y", root.join("z")).unwrap();
        assert_eq!(size_of_files(root).unwrap(), 7);
        empty(&root.join("a")).unwrap();
        assert_eq!(size_of_files(root).unwrap(), 3);
    }
}
