//! What is linked into the stub: the crates, as cargo resolves them, and the two libraries no `Cargo.lock` names.
//!
//! `builder build` puts the list into the manifest, where `licenses` and `sbom` find it without a network and
//! without a checkout. It depends on the same things as the stub's bytes do: the sources, `Cargo.lock`, the Rust
//! toolchain and the C library.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use stub::bundle::{Arch, Library};
use stub::error::{Context, Error, Kind, Result};
use stub::licenses::Expression;
use stub::purl;

/// A crate's name and version.
type Id = (String, String);

/// The libraries of the stub that the checkout at `root` makes for a processor, sorted.
pub fn of_stub(root: &Path, arch: Arch, offline: bool) -> Result<Vec<Library>> {
    let cargo = Cargo {
        root,
        triple: format!("{arch}-unknown-linux-gnu"),
        offline,
    };
    let linked = cargo.linked()?;
    let packages = cargo.packages()?;
    let checksums = checksums(root)?;
    let mut libraries = vec![rust(root)?, c_library(arch)?];
    for id in linked {
        let (name, version) = &id;
        let about = || format!("{name} {version}");
        let package = packages
            .get(&id)
            .ok_or_else(|| surprise("`cargo metadata` does not know the crate").about(about()))?;
        // The crates of the workspace itself are the stub.
        let Some(checksum) = checksums.get(&id) else {
            continue;
        };
        let license = package
            .license
            .as_deref()
            .unwrap_or_default()
            .replace('/', " OR ");
        Expression::parse(&license).about(about)?;
        libraries.push(Library {
            copyright: copyright(&package.directory()?)?,
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

/// Cargo, asked about a checkout.
struct Cargo<'a> {
    root: &'a Path,
    triple: String,
    offline: bool,
}

impl Cargo<'_> {
    /// Everything the stub's program is linked from. Build scripts, procedural macros and what these need run on the
    /// building machine and are no part of it; nor are features that only the builder or the tests switch on.
    fn linked(&self) -> Result<BTreeSet<Id>> {
        let text = self.ask(&[
            "tree",
            "--package=stub",
            "--edges=normal,no-proc-macro",
            "--target",
            &self.triple,
            "--prefix=none",
            "--no-dedupe",
            "--format={p}",
        ])?;
        let id = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            let version = words.next()?.strip_prefix('v')?.to_owned();
            Some((name, version))
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                id(line).ok_or_else(|| {
                    surprise("`cargo tree` prints something else than crates")
                        .found(format!("`{line}`"))
                })
            })
            .collect()
    }

    fn packages(&self) -> Result<BTreeMap<Id, Package>> {
        let text = self.ask(&[
            "metadata",
            "--format-version=1",
            "--filter-platform",
            &self.triple,
        ])?;
        let metadata: Metadata = serde_json::from_str(&text).map_err(|e| {
            surprise("`cargo metadata` prints something else than expected").detail("at", e)
        })?;
        let pair = |p: Package| ((p.name.clone(), p.version.clone()), p);
        Ok(metadata.packages.into_iter().map(pair).collect())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .args(["--locked", "--quiet", "--color=never"])
            .args(self.offline.then_some("--offline"))
            .current_dir(self.root)
            .env("LC_ALL", "C.UTF-8");
        run(&mut command, None)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

impl Package {
    fn directory(&self) -> Result<PathBuf> {
        let parent = self.manifest_path.parent();
        parent
            .map(Path::to_owned)
            .ok_or_else(|| surprise("a crate has no directory"))
    }
}

/// The digests of the crates' packages. Crates of the workspace have none.
fn checksums(root: &Path) -> Result<BTreeMap<Id, String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let path = root.join("Cargo.lock");
    let lock: Lock = read_toml(&path)?;
    let pair = |l: Locked| l.checksum.map(|sum| ((l.name, l.version), sum));
    Ok(lock.package.into_iter().filter_map(pair).collect())
}

fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&fs_err::read_to_string(path)?)
        .map_err(|e| Error::new(Kind::Input, format!("{}: {e}", path.display())))
}

/// The lines of a crate's licence files that say whose it is.
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

/// The line without what stands around it, if it is a notice, and not one that is left to be filled in.
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
fn rust(root: &Path) -> Result<Library> {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.arg("-vV").current_dir(root);
    let text = run(&mut command, None)?;
    let version = text.lines().find_map(|line| line.strip_prefix("release: "));
    let version =
        version.ok_or_else(|| surprise("`rustc -vV` does not say which release it is"))?;
    Ok(Library {
        name: "rust-std".to_owned(),
        version: version.to_owned(),
        copyright: Vec::new(),
        license: "MIT OR Apache-2.0".to_owned(),
        purl: format!("pkg:github/rust-lang/rust@{version}"),
        source: None,
    })
}

/// The C library the stub is statically linked with: the one the C compiler knows.
fn c_library(arch: Arch) -> Result<Library> {
    let compiler = if Arch::host() == Some(arch) {
        "cc".to_owned()
    } else {
        format!("{arch}-linux-gnu-gcc")
    };
    let mut command = Command::new(&compiler);
    command.args(["-E", "-P", "-"]);
    let source = "#include <features.h>\nglibc __GLIBC__ __GLIBC_MINOR__\n";
    let text = run(&mut command, Some(source))?;
    let version = text.lines().find_map(|line| {
        let mut words = line.strip_prefix("glibc ")?.split_whitespace();
        let numbers: (u32, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(format!("{}.{}", numbers.0, numbers.1))
    });
    let version = version.ok_or_else(|| {
        Error::new(Kind::Host, format!("`{compiler}` does not compile for the GNU C library"))
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

fn surprise(what: &str) -> Error {
    Error::new(Kind::Failed, what).hint("use the Rust toolchain that `rust-toolchain.toml` names")
}

/// Runs a program to its end and gives what it printed.
fn run(command: &mut Command, input: Option<&str>) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Error::new(Kind::Host, format!("`{name}` does not work: {why}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()).hint("install it, or correct PATH"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        return Err(failed(why));
    }
    String::from_utf8(output.stdout).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        fs_err::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
    }

    #[test]
    fn what_the_stub_is_linked_from() {
        let libraries = of_stub(&root(), Arch::host().unwrap(), true).unwrap();
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
        // The stub itself; a procedural macro; what builds C code; what only tests, only the builder need.
        for other in ["stub", "serde_derive", "cc", "insta", "reqwest"] {
            assert!(find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn every_library_has_a_licence_whose_text_the_stub_has() {
        for library in of_stub(&root(), Arch::host().unwrap(), true).unwrap() {
            let expression = Expression::parse(&library.license).unwrap();
            for id in expression.licenses().chain(expression.exceptions()) {
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

    #[test]
    fn a_program_that_fails_is_named() {
        let error = run(
            Command::new("sh").args(["-c", "echo oh dear >&2; exit 3"]),
            None,
        )
        .unwrap_err();
        assert_eq!(error.message(), "`sh` does not work: oh dear");
        let error = run(&mut Command::new("no-such-program"), None).unwrap_err();
        assert!(error.to_string().contains("no-such-program"), "{error}");
    }
}
