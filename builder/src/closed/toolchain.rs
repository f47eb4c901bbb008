//! Finds the programs that compile the stub, and checks that they are the right ones.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use stub::bundle::Arch;
use stub::child;
use stub::error::{Error, Kind, Result};

use super::{read_toml, surprise};

/// The Rust toolchain itself, without the wrappers that rustup or others put in front of it.
pub(super) struct Toolchain {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// `1.95.0`.
    pub(super) release: String,
    commit: Option<String>,
    sysroot: PathBuf,
}

impl Toolchain {
    /// The toolchain that this builder runs with, or else the one on the user's `PATH`, for the checkout at `root`.
    /// Any other release than the checkout names is refused: it would make other bytes.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let cargo = env::var_os("CARGO").map(PathBuf::from);
        let beside = cargo
            .as_ref()
            .map(|c| c.with_file_name("rustc"))
            .filter(|r| r.is_file());
        let rustc = beside.unwrap_or_else(|| "rustc".into());
        let ask = |argument: &str| {
            let mut command = Command::new(&rustc);
            // rustup looks for `rust-toolchain.toml` from here.
            child::run(command.args(["--print", argument]).current_dir(root))?.success()
        };
        let sysroot = PathBuf::from(ask("sysroot")?.trim_end());
        let within = |name: &str| Some(sysroot.join("bin").join(name)).filter(|p| p.is_file());
        let rustc = within("rustc").unwrap_or(rustc);
        let cargo = within("cargo").or(cargo).unwrap_or_else(|| "cargo".into());

        let text = child::run(Command::new(&rustc).arg("-vV").current_dir(root))?.success()?;
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
        };
        let release = value("release")
            .ok_or_else(|| surprise("`rustc -vV` does not say which release it is"))?;
        require_release(&rustc, &release, root)?;
        Ok(Self {
            cargo,
            release,
            commit: value("commit-hash"),
            sysroot,
            rustc,
        })
    }

    /// Where the sources of the standard library are, if they are installed, and their name on machines where they are
    /// not: the compiler prefers the real path.
    pub(super) fn library_source(&self) -> Option<(PathBuf, String)> {
        let commit = self.commit.as_ref()?;
        let source = self.sysroot.join("lib/rustlib/src/rust");
        Some((source, format!("/rustc/{commit}")))
    }
}

/// Checks that a compiler is the one that the checkout names.
fn require_release(rustc: &Path, release: &str, root: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct File {
        toolchain: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        channel: String,
    }
    let file: File = read_toml(&root.join("rust-toolchain.toml"))?;
    let channel = file.toolchain.channel;
    if release == channel {
        return Ok(());
    }
    let what =
        "this is not the Rust release that the checkout names, and it would compile another stub";
    Err(Error::new(Kind::Host, what)
        .detail("compiler", rustc.display())
        .expected(format!("release {channel}, which rust-toolchain.toml names"))
        .found(format!("release {release}"))
        .hint(format!(
            "run `rustup toolchain install {channel}`, and select no other one with `+`, RUSTUP_TOOLCHAIN or `rustup override`"
        )))
}

/// The C compiler for a processor, in one of the directories of the system.
pub(super) fn c_compiler(arch: Arch, path: &str) -> Result<PathBuf> {
    let name = if Arch::host() == Some(arch) {
        "gcc".to_owned()
    } else {
        format!("{arch}-linux-gnu-gcc")
    };
    let mut candidates = env::split_paths(path).map(|directory| directory.join(&name));
    candidates.find(|c| c.is_file()).ok_or_else(|| {
        let what = format!("there is no C compiler `{name}` for the stub");
        Error::new(Kind::Host, what)
            .expected(format!("`{name}` in one of {path}"))
            .hint("install it with the GNU C library's headers, for example Debian's packages `gcc` and `libc6-dev`")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_release_of_rust_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("rust-toolchain.toml");
        fs_err::write(file, "[toolchain]\nchannel = \"1.95.0\"\n").unwrap();
        require_release(Path::new("rustc"), "1.95.0", root.path()).unwrap();
        let error = require_release(Path::new("/opt/rustc"), "1.96.0-nightly", root.path());
        insta::assert_snapshot!(error.unwrap_err(), @"
        this is not the Rust release that the checkout names, and it would compile another stub
          compiler  /opt/rustc
          expected  release 1.95.0, which rust-toolchain.toml names
          found     release 1.96.0-nightly

        hint: run `rustup toolchain install 1.95.0`, and select no other one with `+`, RUSTUP_TOOLCHAIN or `rustup override`
        ");
    }

    #[test]
    fn it_does_not_matter_whether_the_standard_librarys_source_is_installed() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut toolchain = Toolchain::find(&root).unwrap();
        let (rustc, libraries) = (
            toolchain.rustc.clone(),
            toolchain.sysroot.join("lib/rustlib"),
        );
        let sysroot = |name: &str| {
            let rustlib = here.join(name).join("lib/rustlib");
            fs_err::create_dir_all(&rustlib).unwrap();
            for entry in fs_err::read_dir(&libraries).unwrap().map(|e| e.unwrap()) {
                if entry.file_name() != "src" {
                    symlink(entry.path(), rustlib.join(entry.file_name())).unwrap();
                }
            }
            here.join(name)
        };
        let (without, with) = (sysroot("without"), sysroot("with"));
        // As much of the source as the compiler looks for.
        let source = with.join("lib/rustlib/src/rust/library/std/src");
        fs_err::create_dir_all(&source).unwrap();
        fs_err::write(source.join("lib.rs"), "").unwrap();

        let program = here.join("program.rs");
        let text = "fn main() { println!(\"{:?}\", std::env::args().collect::<std::collections::BTreeSet<_>>()); }";
        fs_err::write(&program, text).unwrap();
        let compiled = |sysroot: &Path, remap: Option<(PathBuf, String)>| {
            let object = here.join("program.o");
            let mut command = Command::new(&rustc);
            command.args(["-O", "--emit=obj", "--sysroot"]).arg(sysroot);
            command.arg("-o").arg(&object).arg(&program);
            if let Some((from, to)) = remap {
                command.arg(format!("--remap-path-prefix={}={to}", from.display()));
            }
            child::run(&mut command).unwrap().success().unwrap();
            fs_err::read(object).unwrap()
        };
        let expected = compiled(&without, None);
        // That is why the directory is called otherwise.
        assert!(compiled(&with, None) != expected);
        toolchain.sysroot.clone_from(&with);
        assert!(compiled(&with, toolchain.library_source()) == expected);
    }

    #[test]
    fn a_missing_c_compiler_is_named() {
        let arch = Arch::host().unwrap();
        let empty = tempfile::tempdir().unwrap();
        let error = c_compiler(arch, &empty.path().to_string_lossy()).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        assert_eq!(error.message(), "there is no C compiler `gcc` for the stub");
    }
}
