//! The head of a bundle: compiling the stub so that everybody gets the same bytes.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stub::bundle::{Arch, Library};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use crate::libraries;
use crate::workspace::Workspace;

/// Variables that would change what cargo, rustc and the C compiler make.
const FOREIGN: [&str; 9] = [
    "AR",
    "CC",
    "CFLAGS",
    "CARGO_INCREMENTAL",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "SOURCE_DATE_EPOCH",
    "TARGET_CFLAGS",
];
const FOREIGN_PREFIXES: [&str; 7] = [
    "CARGO_BUILD_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_ENCODED_",
    "CC_",
    "CFLAGS_",
    "ZSTD_SYS_",
];

/// A program to put a payload behind.
#[derive(Debug)]
pub struct Head {
    /// Where it is: a static program for the bundle's architecture.
    pub program: PathBuf,
    /// What is linked into it; nothing where nobody knows.
    pub libraries: Vec<Library>,
}

impl Head {
    /// A ready program, if it is fit.
    pub fn named(program: &Path, arch: Arch) -> Result<Self> {
        require_static(program, arch)?;
        Ok(Self {
            program: program.to_owned(),
            libraries: Vec::new(),
        })
    }

    /// The stub of a checkout, compiled.
    pub fn compiled(
        workspace: &Workspace,
        arch: Arch,
        offline: bool,
        progress: &Progress,
    ) -> Result<Self> {
        Ok(Self {
            program: compile(workspace, arch, offline, progress)?,
            libraries: libraries::of_stub(workspace.root(), arch, offline)?,
        })
    }
}

/// Compiles the stub of a checkout and gives the program's path.
///
/// The bytes depend on the sources, `Cargo.lock`, the Rust toolchain and the machine's linker and static C library;
/// not on directories, user, time, locale or number of cores.
fn compile(
    workspace: &Workspace,
    arch: Arch,
    offline: bool,
    progress: &Progress,
) -> Result<PathBuf> {
    let triple = format!("{arch}-unknown-linux-gnu");
    let target = workspace.target().join("stub-build");
    let home = cargo_home()?;
    let task = progress.task("compile the stub", 0);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--locked",
            "--quiet",
            "--package",
            "stub",
            "--bin",
            "usernetes",
            "--profile",
            "stub",
        ])
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&target)
        .args(offline.then_some("--offline"))
        .current_dir(workspace.root())
        .stdin(Stdio::null());
    // What a user's environment or the `cargo run` around us would add to the build.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let foreign =
            FOREIGN_PREFIXES.iter().any(|p| text.starts_with(p)) || FOREIGN.contains(&&*text);
        if foreign {
            cargo.env_remove(&name);
        }
    }
    let remaps = remaps(workspace.root(), &home)?;
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&remaps))
        .env("LC_ALL", "C.UTF-8");
    let output = cargo.output().map_err(|e| {
        Error::new(
            Kind::Host,
            format!("cannot run cargo to compile the stub: {e}"),
        )
        .hint("install Rust from your distribution or with rustup")
    })?;
    task.clear();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        return Err(Error::new(Kind::Failed, format!("cargo cannot compile the stub for {triple}\n{text}")).hint(format!(
            "for another processor than this machine's, run `rustup target add {triple}` and install a linker for it, or name a ready stub with `--stub`"
        )));
    }
    let program = target.join(&triple).join("stub/usernetes");
    require_static(&program, arch)?;
    Ok(program)
}

/// The type of the program header that names a dynamic loader.
const PT_INTERP: [u8; 4] = 3u32.to_le_bytes();

/// Checks that a program is a static ELF executable for the architecture: one without a dynamic loader.
fn require_static(program: &Path, arch: Arch) -> Result<()> {
    let bytes = fs_err::read(program)?;
    let wrong = |found: String| {
        Error::new(
            Kind::Input,
            format!(
                "{}: this program cannot be the head of a bundle",
                program.display()
            ),
        )
        .expected(format!("a statically linked 64-bit ELF program for {arch}"))
        .found(found)
        .hint("leave out `--stub` to have the stub compiled with the right flags")
    };
    // Offsets from the ELF-64 object file format, version 1.5 draft 2, figures 2 and 6.
    let u16_at = |at: usize| {
        bytes
            .get(at..at + 2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(wrong("no 64-bit little-endian ELF file".to_owned()));
    }
    let machine = match arch {
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
    };
    if u16_at(18) != Some(machine) {
        return Err(wrong(format!(
            "machine number {}",
            u16_at(18).unwrap_or_default()
        )));
    }
    let table = bytes
        .get(32..40)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes);
    let table = usize::try_from(table).unwrap_or(usize::MAX);
    let (size, count) = (
        u16_at(54).unwrap_or_default(),
        u16_at(56).unwrap_or_default(),
    );
    let dynamic = (0..usize::from(count)).any(|i| {
        let at = table.saturating_add(i * usize::from(size));
        bytes.get(at..at.saturating_add(4)) == Some(&PT_INTERP)
    });
    if dynamic {
        Err(wrong("a program that needs a dynamic loader".to_owned()))
    } else {
        Ok(())
    }
}

/// Directories that must not leave traces in the program, and what they are called instead.
fn remaps(source: &Path, cargo_home: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut remaps = vec![(source.to_owned(), "/usernetes".to_owned())];
    // One directory for each registry, named after its address: a mirror's must not differ from the real one's.
    let registries = cargo_home.join("registry/src");
    if registries.is_dir() {
        for entry in fs_err::read_dir(&registries)? {
            remaps.push((entry?.path(), "/cargo".to_owned()));
        }
    }
    remaps.sort();
    remaps.push((cargo_home.to_owned(), "/cargo-home".to_owned()));
    // The last match wins in rustc, so the most specific must come last.
    remaps.sort_by_key(|(path, _)| path.as_os_str().len());
    Ok(remaps)
}

/// Separated by the unit separator, as cargo reads them: a directory's name may contain spaces.
fn rust_flags(remaps: &[(PathBuf, String)]) -> OsString {
    let mut flags =
        OsString::from("-Ctarget-feature=+crt-static\x1f-Clink-arg=-Wl,--build-id=none");
    for (path, name) in remaps {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(path);
        flags.push(format!("={name}"));
    }
    flags
}

fn cargo_home() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let home = set.or_else(|| env::var_os("HOME").map(|h| PathBuf::from(h).join(".cargo")));
    let home = home.ok_or_else(|| {
        Error::new(Kind::Host, "neither CARGO_HOME nor HOME is set")
            .hint("set HOME to your home directory")
    })?;
    // Cargo shows rustc the resolved path.
    if home.exists() {
        Ok(fs_err::canonicalize(home)?)
    } else {
        Ok(home)
    }
}
