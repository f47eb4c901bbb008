//! Other ways to pack a directory and to unpack it again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use builder::wording::counted;
use serde::Serialize;
use stub::child;
use stub::error::{Context as _, Result};
use stub::progress::{Progress, bytes};
use stub::threads::map_on_all_cores;

use crate::times::seconds;

/// Another way.
#[derive(Debug)]
pub(crate) struct Competitor {
    /// The name of its packed file in tables.
    pub(crate) file: &'static str,
    /// The name of unpacking it in tables.
    pub(crate) unpack: &'static str,
    /// The program that it needs, and the Debian package that has it.
    program: &'static str,
    package: &'static str,
    /// Shell commands: the first makes the file `$3` out of the tar archive `$1` or the directory `$2`, the second unpacks the
    /// file `$1` into the empty directory `$2`. Without the first, there is no packed file, and `$1` is the directory.
    to_pack: Option<&'static str>,
    to_unpack: &'static str,
}

pub(crate) const BZIP2: &str = "tar xjf";
pub(crate) const ZSTD: &str = "zstd -dc | tar x";
pub(crate) const XZ: &str = "tar xJf";
pub(crate) const MAKESELF: &str = "makeself's file";
pub(crate) const COPY: &str = "cp -r";

/// All of them, those first that pack longest.
static ALL: [Competitor; 5] = [
    Competitor {
        file: "xz -9",
        unpack: XZ,
        program: "xz",
        package: "xz-utils",
        // With one thread, whatever the release's default is: several make a larger file.
        to_pack: Some("xz -9 -T1 -c \"$1\" >\"$3\""),
        to_unpack: "tar -xJf \"$1\" -C \"$2\"",
    },
    Competitor {
        file: "zstd -19 --long=27",
        unpack: ZSTD,
        program: "zstd",
        package: "zstd",
        // It writes the same bytes with any number of threads.
        to_pack: Some("zstd -q -19 --long=27 -T1 -c \"$1\" >\"$3\""),
        to_unpack: "zstd -dcq --long=27 \"$1\" | tar -x -C \"$2\"",
    },
    Competitor {
        file: ".tbz (tar, bzip2 -9)",
        unpack: BZIP2,
        program: "bzip2",
        package: "bzip2",
        to_pack: Some("bzip2 -9 -c \"$1\" >\"$3\""),
        to_unpack: "tar -xjf \"$1\" -C \"$2\"",
    },
    Competitor {
        file: "makeself (gzip -9)",
        unpack: MAKESELF,
        program: "makeself",
        package: "makeself",
        to_pack: Some("makeself --quiet --nox11 \"$2\" \"$3\" usernetes true"),
        to_unpack: "\"$1\" --quiet --nox11 --noexec --target \"$2\"",
    },
    Competitor {
        file: "the directory itself",
        unpack: COPY,
        program: "cp",
        package: "coreutils",
        to_pack: None,
        to_unpack: "cp -r \"$1\" \"$2\"",
    },
];

/// The work of a competitor.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Packed {
    /// The name of its packed file.
    pub(crate) file: &'static str,
    /// The name of unpacking it.
    pub(crate) unpack: &'static str,
    /// The size of its file in bytes. None if there is no such file.
    pub(crate) bytes: Option<u64>,
    /// The program's own words about its version.
    pub(crate) version: Option<String>,
    /// Why it is not measured.
    pub(crate) missing: Option<String>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    to_unpack: &'static str,
}

impl Packed {
    /// The command that unpacks it into an empty directory.
    pub(crate) fn unpack_into(&self, directory: &Path) -> Command {
        script(self.to_unpack, &[&self.path, directory])
    }
}

/// The name of the directory that is packed.
pub(crate) const STORE: &str = "store";

/// Packs the directory `store` in `data` in all ways for which this machine has programs, several at a time: only sizes are
/// measured here. The files are in `work`.
pub(crate) fn pack_all(data: &Path, work: &Path, progress: &Progress) -> Result<Vec<Packed>> {
    let names = ALL.iter().filter(|c| c.to_pack.is_some());
    let names: Vec<_> = names.map(|c| c.program).collect();
    let wait = progress.wait(format!("pack the same files with {}", names.join(", ")));
    let tar = work.join("store.tar");
    let mut archive = Command::new("tar");
    archive.arg("-C").arg(data).arg("-cf").arg(&tar).arg(STORE);
    seconds(&mut archive)?;
    let done = map_on_all_cores(&ALL, |competitor| {
        let packed = competitor.pack(&tar, &data.join(STORE), work)?;
        if let Some(size) = packed.bytes {
            progress.line(format!("{}: {}", packed.file, bytes(size)));
        }
        Ok(packed)
    })?;
    fs_err::remove_file(&tar)?;
    let files = done.iter().filter(|packed| packed.bytes.is_some()).count();
    wait.finish(&counted(files, "file"));
    Ok(done)
}

impl Competitor {
    fn pack(&self, tar: &Path, directory: &Path, work: &Path) -> Result<Packed> {
        let mut packed = Packed {
            file: self.file,
            unpack: self.unpack,
            bytes: None,
            version: version(self.program)?,
            missing: None,
            path: directory.to_owned(),
            to_unpack: self.to_unpack,
        };
        if packed.version.is_none() {
            packed.missing = Some(self.absence());
            return Ok(packed);
        }
        let Some(to_pack) = self.to_pack else {
            return Ok(packed);
        };
        packed.path = work.join(format!("store.{}", self.program));
        let mut command = script(to_pack, &[tar, directory, &packed.path]);
        // makeself writes a temporary archive, and /tmp may be in memory.
        command.env("TMPDIR", work).stdout(Stdio::null());
        child::run(&mut command)?.success().about(|| self.file)?;
        packed.bytes = Some(fs_err::metadata(&packed.path)?.len());
        Ok(packed)
    }

    fn absence(&self) -> String {
        format!(
            "{} is not installed (Debian package `{}`)",
            self.program, self.package
        )
    }
}

/// The first line that a program says about its version, or `None` if it is not installed.
fn version(program: &str) -> Result<Option<String>> {
    // bzip2 would compress something; it says its version on stderr.
    let argument = match program {
        "bzip2" => "--help",
        _ => "--version",
    };
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null());
    let Some(ended) = child::try_run(&mut command)? else {
        return Ok(None);
    };
    let said = ended.said();
    let text = String::from_utf8_lossy(&ended.stdout).into_owned() + &said;
    Ok(Some(
        text.trim().lines().next().unwrap_or(program).to_owned(),
    ))
}

fn script(text: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text, "sh"]).args(arguments);
    command
}

#[cfg(test)]
pub(crate) use tests::example;

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of 2000 bytes and more. makeself is missing.
    pub(crate) fn example() -> Vec<Packed> {
        let packed = |(competitor, bytes): (&Competitor, u64)| Packed {
            file: competitor.file,
            unpack: competitor.unpack,
            bytes: competitor.to_pack.map(|_| bytes),
            version: Some(format!("{} 1.0", competitor.program)),
            missing: None,
            path: PathBuf::new(),
            to_unpack: competitor.to_unpack,
        };
        let sizes = [1200, 1250, 2000, 0, 0];
        let mut all: Vec<_> = ALL.iter().zip(sizes).map(packed).collect();
        let makeself = &mut all[3];
        (makeself.bytes, makeself.version) = (None, None);
        makeself.missing = Some(ALL[3].absence());
        all
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let nobody = Competitor {
            file: "x",
            unpack: "y",
            program: "no-such-program-of-anybody",
            package: "nothing",
            to_pack: Some("false"),
            to_unpack: "false",
        };
        let packed = nobody.pack(Path::new("a"), Path::new("b"), Path::new("c"));
        let packed = packed.unwrap();
        assert_eq!(packed.bytes, None);
        assert_eq!(
            packed.missing.as_deref(),
            Some("no-such-program-of-anybody is not installed (Debian package `nothing`)")
        );
    }

    #[test]
    fn what_is_packed_can_be_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let (data, work) = (directory.path().join("data"), directory.path().join("work"));
        fs_err::create_dir_all(data.join("store/a")).unwrap();
        fs_err::create_dir(&work).unwrap();
        fs_err::write(data.join("store/a/file"), "content").unwrap();
        let all = pack_all(&data, &work, &Progress::silent()).unwrap();
        assert_eq!(all.len(), ALL.len());
        let mut unpacked = 0;
        for packed in all.iter().filter(|packed| packed.missing.is_none()) {
            let to = directory.path().join(unpacked.to_string());
            fs_err::create_dir(&to).unwrap();
            seconds(&mut packed.unpack_into(&to)).unwrap();
            // makeself packs what is in the directory, the others the directory.
            let places = [to.join("store/a/file"), to.join("a/file")];
            assert!(places.iter().any(|p| p.is_file()), "{}", packed.unpack);
            unpacked += 1;
        }
        // Every machine has `cp`.
        assert!(unpacked > 0);
    }
}
