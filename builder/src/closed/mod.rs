//! The closed environment in which the stub is compiled, so that everybody gets the same bytes.
//!
//! Cargo, rustc and the C compiler obey dozens of variables and every `config.toml` in the directories above them. Here
//! they see none of these: the environment is empty but for the variables that [`Closed`] sets, and cargo has a home of
//! its own ([`home`]) with only those settings of the user's that say where crates are downloaded from ([`settings`]).
//! The downloads themselves are shared with the user's own cargo.

mod home;
mod settings;
mod sources;
mod toolchain;
mod variables;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use stub::bundle::Arch;
use stub::child;
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};

use self::home::Home;
pub use self::home::of_user as home_of_user;
pub(crate) use self::sources::Source;
use self::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Where programs come from that are no part of the Rust toolchain. The user's `PATH` may begin with wrappers.
const PATH: &str = "/usr/bin:/bin";

/// A linker script that leaves out the tables for unwinding: the stub aborts on a panic, and without them it is a tenth
/// smaller. rustc itself cannot leave them out. With `lto = "fat"`, `-Cforce-unwind-tables=no` changes nothing, because the
/// standard library comes with debug information, for which LLVM describes the frames of all functions.
const WITHOUT_UNWINDING: &str =
    "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) } } INSERT AFTER .text;\n";

/// A crate's name and version.
pub(crate) type Id = (String, String);

/// Cargo, rustc and the C compiler for one checkout and one processor.
pub(crate) struct Closed {
    root: PathBuf,
    target: PathBuf,
    triple: String,
    home: Home,
    toolchain: Toolchain,
    compiler: PathBuf,
    /// What [`Self::sources`] has found: to ask cargo takes a third of a second.
    sources: OnceCell<Vec<Source>>,
}

impl Closed {
    /// Finds the programs and prepares cargo's home. Unless `offline` is set, downloads the crates of the stub that this
    /// machine lacks. Afterwards nothing needs a network.
    pub(crate) fn prepare(workspace: &Workspace, arch: Arch, offline: bool) -> Result<Self> {
        let target = workspace.target().join("stub-build");
        let closed = Self::beside(&home_of_user()?, workspace.root(), target, arch)?;
        if !offline {
            closed.download()?;
        }
        Ok(closed)
    }

    /// The same for the checkout at `root` and a user whose cargo has its home at `users`, without a network.
    fn beside(users: &Path, root: &Path, target: PathBuf, arch: Arch) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            triple: format!("{arch}-unknown-linux-gnu"),
            home: Home::prepare(&target.join("cargo-home"), users, root)?,
            toolchain: Toolchain::find(root)?,
            compiler: toolchain::c_compiler(arch, PATH)?,
            target,
            sources: OnceCell::new(),
        })
    }

    /// The Rust release that compiles.
    pub(crate) fn rust_release(&self) -> &str {
        &self.toolchain.release
    }

    /// The C compiler, which also links.
    pub(crate) fn c_compiler(&self) -> Command {
        enclosed(&self.compiler)
    }

    /// Compiles the stub's program and gives its path.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        let remaps = self.remaps()?;
        let mut flags = rust_flags(&remaps);
        flags.push("\x1f-Clink-arg=-T");
        flags.push(self.linker_script()?);
        let mut cargo = self.cargo(&["build", "--bin=usernetes", "--profile=stub"]);
        cargo
            .arg("--target-dir")
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags);
        let triple = &self.triple;
        let ended = child::run(&mut cargo)?;
        if !ended.status.success() {
            let what = format!(
                "cargo cannot compile the stub for {triple}\n{}",
                ended.said()
            );
            return Err(Error::new(Kind::Failed, what).hint(format!(
                "for another processor than this machine's, run `rustup target add {triple}` and install a linker for it, or name a ready stub with `--stub`"
            )));
        }
        let program = self.target.join(triple).join("stub/usernetes");
        require_no_trace(&program, &remaps)?;
        Ok(program)
    }

    /// The file with [`WITHOUT_UNWINDING`]. Cargo does not look into it, so that another script needs another name.
    fn linker_script(&self) -> Result<PathBuf> {
        let digest = Sha256::of(WITHOUT_UNWINDING.as_bytes());
        let script = self.target.join(format!("{}.ld", digest.short(12)));
        fs_err::write(&script, WITHOUT_UNWINDING)?;
        Ok(script)
    }

    /// Everything the stub's program is linked from. Build scripts, procedural macros and their dependencies run on the
    /// building machine and are no part of it; nor are features that only the builder or the tests switch on.
    pub(crate) fn linked(&self) -> Result<BTreeSet<Id>> {
        self.tree("normal,no-proc-macro")
    }

    /// The sources of the crates that the stub is made of, as cargo has unpacked them. The crates of the workspace are
    /// not among them.
    pub(crate) fn sources(&self) -> Result<&[Source]> {
        if let Some(sources) = self.sources.get() {
            return Ok(sources);
        }
        let sources = self.find_sources()?;
        Ok(self.sources.get_or_init(|| sources))
    }

    fn find_sources(&self) -> Result<Vec<Source>> {
        let needed = self.tree("normal,build")?;
        let mut sources = sources::below(&self.home.crate_directories()?)?;
        sources.retain(|source| needed.contains(&source.id));
        let found: BTreeSet<&Id> = sources.iter().map(|s| &s.id).collect();
        let checksums = self.checksums()?;
        let lacking = needed
            .iter()
            .find(|id| checksums.contains_key(*id) && !found.contains(id));
        match lacking {
            None => Ok(sources),
            Some((name, version)) => {
                let what = format!("{name} {version}: cannot find where cargo keeps this crate");
                Err(Error::new(Kind::Failed, what)
                    .expected(format!("a directory below {}", self.home.path().display()))
                    .hint("remove that directory and try again"))
            }
        }
    }

    /// The digests of the crates' packages. Crates of the workspace have none.
    pub(crate) fn checksums(&self) -> Result<BTreeMap<Id, String>> {
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
        let lock: Lock = read_toml(&self.root.join("Cargo.lock"))?;
        let pair = |l: Locked| l.checksum.map(|sum| ((l.name, l.version), sum));
        Ok(lock.package.into_iter().filter_map(pair).collect())
    }

    /// Has cargo download the crates it lacks. Here, and only here, it sees the user's environment, because proxies,
    /// certificates and logins may be named there: nothing is compiled, and `Cargo.lock` has the digests of the crates.
    fn download(&self) -> Result<()> {
        let mut cargo = self.cargo_online(&["tree", "--edges=normal,build"]);
        cargo.envs(env::vars_os().filter(|(name, _)| variables::may_lead_to_a_registry(name)));
        let ended = child::run(&mut cargo)?;
        if ended.status.success() {
            return Ok(());
        }
        let what = format!(
            "cargo cannot download the crates of the stub\n{}",
            ended.said()
        );
        Err(Error::new(Kind::Network, what)
            .hint("correct the problem that cargo reports; without a network, use `--offline`"))
    }

    /// The crates that such dependencies lead to.
    fn tree(&self, edges: &str) -> Result<BTreeSet<Id>> {
        let mut cargo = self.cargo(&["tree", "--prefix=none", "--no-dedupe", "--format={p}"]);
        cargo.args(["--edges", edges]);
        let text = child::run(&mut cargo)?.success()?;
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
                    surprise("`cargo tree` prints something other than crates")
                        .found(format!("`{line}`"))
                })
            })
            .collect()
    }

    /// Directories that must not leave traces in the program, and the names that replace them.
    fn remaps(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut remaps = vec![
            (self.root.clone(), "/usernetes".to_owned()),
            (self.target.clone(), "/target".to_owned()),
        ];
        remaps.extend(self.toolchain.library_source());
        // By crate: the directories above are called otherwise for a mirror, and with `cargo vendor`.
        for source in self.sources()? {
            let (name, version) = &source.id;
            remaps.push((source.directory.clone(), format!("/cargo/{name}-{version}")));
        }
        let resolved: Vec<_> = remaps
            .iter()
            .filter_map(|(path, name)| Some((fs_err::canonicalize(path).ok()?, name.clone())))
            .collect();
        remaps.extend(resolved);
        // The last match wins in rustc, so the most specific must come last.
        remaps.sort_by(|(a, _), (b, _)| (a.as_os_str().len(), a).cmp(&(b.as_os_str().len(), b)));
        remaps.dedup();
        Ok(remaps)
    }

    /// Cargo with a subcommand about the stub.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = self.cargo_online(arguments);
        cargo.arg("--offline");
        cargo
    }

    fn cargo_online(&self, arguments: &[&str]) -> Command {
        let mut cargo = enclosed(&self.toolchain.cargo);
        cargo
            .args(arguments)
            .args(["--locked", "--quiet", "--color=never", "--package=stub"])
            .args(["--target", &self.triple, "--manifest-path"])
            .arg(self.root.join("Cargo.toml"));
        let triple = self.triple.replace('-', "_");
        cargo
            .env("CARGO_HOME", self.home.path())
            .env("RUSTC", &self.toolchain.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&[]))
            .env(format!("CC_{triple}"), &self.compiler)
            .env(
                format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()),
                &self.compiler,
            );
        cargo
    }
}

/// A program that sees nothing of the user's environment. It starts at the top, where the only `.cargo` is one that
/// [`Home::prepare`] has looked at.
fn enclosed(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .envs(env::vars_os().filter(|(name, _)| variables::is_harmless(name)))
        .current_dir("/");
    command
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

/// Checks that a program does not name directories of this machine: its bytes would differ from those of others.
fn require_no_trace(program: &Path, remaps: &[(PathBuf, String)]) -> Result<()> {
    let bytes = fs_err::read(program)?;
    // `/src/` is in many names that are not this machine's.
    let telling = remaps
        .iter()
        .map(|(path, _)| path)
        .filter(|p| p.components().count() > 2);
    // Shorter paths come first: a path below one is found with it.
    let mut tops: Vec<&Path> = Vec::new();
    for path in telling {
        if !tops.iter().any(|top| path.starts_with(top)) {
            tops.push(path);
        }
    }
    for top in tops {
        let name = [top.as_os_str().as_encoded_bytes(), b"/"].concat();
        if bytes.windows(name.len()).any(|window| window == name) {
            let what = "the compiled stub names a directory of this machine, so other machines cannot build the same bytes";
            return Err(Error::new(Kind::Failed, what)
                .detail("at", program.display())
                .found(top.display())
                .hint("this is a bug in the builder: report it with the directory's name"));
        }
    }
    Ok(())
}

pub(crate) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&fs_err::read_to_string(path)?)
        .map_err(|e| Error::new(Kind::Input, format!("{}: {e}", path.display())))
}

pub(crate) fn surprise(what: &str) -> Error {
    Error::new(Kind::Failed, what).hint("use the Rust toolchain that `rust-toolchain.toml` names")
}

#[cfg(test)]
mod tests;
