//! The head of a bundle: compiling the stub so that everybody gets the same bytes.

use std::path::{Path, PathBuf};

use stub::bundle::{Arch, Library};
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use crate::closed::Closed;
use crate::libraries;
use crate::workspace::Workspace;

/// A program to put a payload behind.
#[derive(Debug)]
pub struct Head {
    /// Where it is: a static program for the bundle's architecture.
    pub program: PathBuf,
    /// The libraries linked into it; empty if unknown.
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
    ///
    /// The bytes depend on the sources, `Cargo.lock`, the Rust toolchain and the machine's C compiler, linker and
    /// static C library; not on directories, user, environment, configuration, time or number of cores.
    pub fn compiled(
        workspace: &Workspace,
        arch: Arch,
        offline: bool,
        progress: &Progress,
    ) -> Result<Self> {
        let task = progress.task("compile the stub", 0);
        let closed = Closed::prepare(workspace, arch, offline)?;
        let program = closed.build()?;
        require_static(&program, arch)?;
        let libraries = libraries::of_stub(&closed)?;
        task.clear();
        Ok(Self { program, libraries })
    }
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
        .hint("leave out `--stub`, so that the builder compiles the stub with the right flags")
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
