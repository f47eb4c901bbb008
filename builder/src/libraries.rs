//! The libraries linked into the stub: the crates, as cargo resolves them, and the two libraries no `Cargo.lock` names.
//!
//! `builder build` puts the list into the manifest, where `licenses` and `sbom` find it without a network and
//! without a checkout. It depends on the same things as the stub's bytes do: the sources, `Cargo.lock`, the Rust
//! toolchain and the C library.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use stub::bundle::Library;
use stub::child;
use stub::error::{Context, Error, Kind, Result};
use stub::purl;

use crate::closed::{Closed, surprise};
use crate::license;

/// The libraries of the stub that a checkout makes for a processor, sorted.
pub(crate) fn of_stub(closed: &Closed) -> Result<Vec<Library>> {
    let sources = closed.sources()?;
    let checksums = closed.checksums()?;
    let mut libraries = vec![rust(closed.rust_release()), c_library(closed.c_compiler())?];
    for id in closed.linked()? {
        let (name, version) = &id;
        let about = || format!("{name} {version}");
        // The crates of the workspace itself are the stub.
        let Some(checksum) = checksums.get(&id) else {
            continue;
        };
        let source = sources
            .iter()
            .find(|source| source.id == id)
            .ok_or_else(|| {
                surprise("`cargo tree` links a crate that it does not compile").about(about())
            })?;
        let license = source.license.replace('/', " OR ");
        license::check(&license).about(about)?;
        libraries.push(Library {
            copyright: copyright(&source.directory)?,
            license,
            purl: purl::of_crate(name, version),
            source: Some(format!("sha256:{checksum}")),
            name: name.clone(),
            version: version.clone(),
        });
    }
    libraries.sort();
    Ok(libraries)
}

/// The copyright notices in a crate's licence files.
fn copyright(directory: &Path) -> Result<Vec<String>> {
    let mut lines = BTreeSet::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        let legal = ["COPYING", "COPYRIGHT", "LICENCE", "LICENSE", "NOTICE"];
        if legal.iter().any(|start| name.starts_with(start)) && path.is_file() {
            let text = fs_err::read(&path)?;
            let text = String::from_utf8_lossy(&text);
            lines.extend(text.lines().filter_map(notice));
        }
    }
    Ok(lines.into_iter().collect())
}

/// The notice in the line, if there is one, and if it is not a template that is left to be filled in.
fn notice(line: &str) -> Option<String> {
    let line = line
        .trim_start_matches(['/', '*', '#', ' ', '\t'])
        .trim_end();
    let rest = line.strip_prefix("Copyright ")?;
    let blank = rest.contains(['[', '{']) || rest.contains("<year>");
    let printable = !rest.chars().any(char::is_control);
    (printable && !blank).then(|| line.to_owned())
}

/// The standard library, which comes with the compiler.
fn rust(release: &str) -> Library {
    Library {
        name: "rust-std".to_owned(),
        version: release.to_owned(),
        copyright: Vec::new(),
        license: "MIT OR Apache-2.0".to_owned(),
        purl: format!("pkg:github/rust-lang/rust@{release}"),
        source: None,
    }
}

/// The C library the stub is statically linked with: the one the C compiler knows.
fn c_library(mut compiler: Command) -> Result<Library> {
    compiler.args(["-E", "-P", "-"]);
    let source = "#include <features.h>\nglibc __GLIBC__ __GLIBC_MINOR__\n";
    let text = child::run_with(&mut compiler, source)?.success()?;
    let version = text.lines().find_map(|line| {
        let mut words = line.strip_prefix("glibc ")?.split_whitespace();
        let numbers: (u32, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(format!("{}.{}", numbers.0, numbers.1))
    });
    let version = version.ok_or_else(|| {
        let name = compiler.get_program().to_string_lossy();
        Error::new(Kind::Host, format!("`{name}` does not compile for the GNU C library"))
            .hint("install a C compiler with the GNU C library's headers, for example Debian's package `libc6-dev`")
    })?;
    Ok(Library {
        name: "glibc".to_owned(),
        copyright: Vec::new(),
        license: "LGPL-2.1-or-later".to_owned(),
        purl: format!(
            "pkg:generic/glibc@{version}?download_url=https://ftp.gnu.org/gnu/glibc/glibc-{version}.tar.xz"
        ),
        source: None,
        version,
    })
}

#[cfg(test)]
mod tests {
    use stub::bundle::Arch;

    use super::*;
    use crate::workspace::Workspace;

    fn libraries() -> Vec<Library> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::find(Some(&root)).unwrap();
        of_stub(&Closed::prepare(&workspace, Arch::host().unwrap(), true).unwrap()).unwrap()
    }

    #[test]
    fn what_the_stub_is_linked_from() {
        let libraries = libraries();
        assert!(libraries.is_sorted());
        let find = |name: &str| libraries.iter().find(|l| l.name == name);
        let zstd = find("zstd-sys").unwrap();
        assert_eq!(zstd.license, "BSD-3-Clause AND BSD-2-Clause");
        assert!(
            zstd.copyright.iter().any(|c| c.contains("Meta Platforms")),
            "{zstd:?}"
        );
        assert_eq!(zstd.source.as_deref().map(str::len), Some(71));
        for part in ["rust-std", "glibc", "serde", "clap_builder"] {
            assert!(find(part).is_some(), "{part}");
        }
        // The stub itself; a procedural macro; a builder of C code; crates that only tests or only the builder need.
        for other in ["stub", "serde_derive", "cc", "insta", "reqwest"] {
            assert!(find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn every_library_has_a_licence_whose_text_the_stub_has() {
        for library in libraries() {
            for id in stub::licenses::identifiers(&library.license) {
                assert!(stub::licenses::text(id).is_some(), "{}: {id}", library.name);
            }
        }
    }

    #[test]
    fn what_is_a_copyright_notice() {
        assert_eq!(
            notice("// Copyright 2015-2016 Brian Smith."),
            Some("Copyright 2015-2016 Brian Smith.".to_owned())
        );
        assert_eq!(
            notice("  Copyright (c) A <a@example.org> \r"),
            Some("Copyright (c) A <a@example.org>".to_owned())
        );
        for other in [
            "copyright notice",
            "Copyright [yyyy] [name]",
            "Copyright <year> <owner>",
            "Copyrighted",
            "",
        ] {
            assert_eq!(notice(other), None, "{other}");
        }
    }
}
