//! `list`, `verify`, `licenses`, `--version`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output::{print, print_json, table};
use super::store::SHORT;
use crate::bundle::{Bundle, Manifest};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};
use crate::progress::{Progress, bytes};
use crate::signature::Verdict;
use crate::store::{Depth, Generation, Store};
use crate::{licenses, sbom, signature};

/// The bundle this process was started from, or else the current generation.
enum Subject {
    Bundle(Box<Bundle>),
    Installed(Box<Generation>),
}

impl Subject {
    fn of_this_process() -> Result<Self> {
        if let Some(bundle) = Bundle::of_this_process()? {
            return Ok(Self::Bundle(Box::new(bundle)));
        }
        let generation = Store::open_default()?.need_current()?;
        Ok(Self::Installed(Box::new(generation)))
    }

    fn manifest(&self) -> &Manifest {
        match self {
            Self::Bundle(bundle) => bundle.manifest(),
            Self::Installed(generation) => generation.manifest(),
        }
    }

    fn id(&self) -> Sha256 {
        match self {
            Self::Bundle(bundle) => bundle.id(),
            Self::Installed(generation) => generation.id(),
        }
    }
}

/// `--version`
pub(super) fn version() -> Result<()> {
    print(&match Bundle::of_this_process()? {
        Some(bundle) => {
            let release = &bundle.manifest().release;
            format!(
                "usernetes {release} (bundle {})\n",
                bundle.id().short(SHORT)
            )
        }
        None => format!("usernetes {}\n", env!("CARGO_PKG_VERSION")),
    })
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(&self) -> Result<()> {
        let subject = Subject::of_this_process()?;
        let manifest = subject.manifest();
        let components = manifest.installed_components()?;
        if self.json {
            let objects: Vec<_> = components
                .iter()
                .map(|c| {
                    json!({
                        "bytes": manifest.unpacked_size(c), "files": c.files.len(), "license": c.license,
                        "name": c.name, "version": c.version,
                    })
                })
                .collect();
            return print_json(&json!({
                "arch": manifest.arch, "bundle": subject.id(), "components": objects, "release": manifest.release,
            }));
        }
        let heads = ["component", "version", "licence", "files", "size"].map(str::to_owned);
        let mut rows = vec![heads.to_vec()];
        let (mut files, mut size) = (0, 0);
        for c in &components {
            files += c.files.len();
            size += manifest.unpacked_size(c);
            rows.push(vec![
                c.name.to_string(),
                c.version.to_string(),
                c.license.clone(),
                c.files.len().to_string(),
                bytes(manifest.unpacked_size(c)),
            ]);
        }
        let (release, arch, id) = (&manifest.release, manifest.arch, subject.id().short(SHORT));
        print(&format!(
            "{}\nrelease {release} for {arch}, bundle {id}: {} components, {files} files, {} unpacked\n",
            table(&rows, &[3, 4]),
            components.len(),
            bytes(size),
        ))
    }
}

#[derive(Debug, Args)]
pub(super) struct Licenses {
    /// Print everything about this component or library: licence texts, notices, where to get source code
    #[arg(value_name = "COMPONENT", conflicts_with = "json")]
    name: Option<String>,
    /// Print everything about all components and libraries
    #[arg(long, conflicts_with_all = ["name", "json"])]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Licenses {
    pub(super) fn run(&self) -> Result<()> {
        let subject = Subject::of_this_process()?;
        let manifest = subject.manifest();
        if self.json {
            let components = manifest.installed_components()?;
            let objects: Vec<_> = components
                .iter()
                .map(|c| {
                    json!({
                        "homepage": c.homepage, "license": c.license, "name": c.name, "sources": c.sources,
                        "version": c.version,
                    })
                })
                .collect();
            return print_json(&json!({ "components": objects }));
        }
        print(&match &self.name {
            Some(name) => licenses::of(manifest, name)?,
            None if self.all => licenses::complete(manifest)?,
            None => licenses::overview(manifest)?,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Sbom {
    /// Format of the document
    #[arg(long, value_enum, default_value_t)]
    format: sbom::Format,
}

impl Sbom {
    pub(super) fn run(&self) -> Result<()> {
        let subject = Subject::of_this_process()?;
        print(&sbom::document(
            subject.manifest(),
            &subject.id(),
            self.format,
        )?)
    }
}

/// Describes a bundle's origin as recorded at installation; without the bundle, it cannot be checked again.
fn recorded(origin: &Verdict) -> String {
    match origin {
        Verdict::Signed { .. } => format!("when it was installed, its bundle was {origin}"),
        Verdict::Unsigned => "when it was installed, there was no signature beside its bundle: compare the bundle id with the one its publisher names".to_owned(),
        Verdict::Unchecked => "when it was installed, its bundle had a signature that could not be checked, because the program that installed it has no release key: compare the bundle id with the one its publisher names".to_owned(),
    }
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The bundle to check [default: the bundle this command is run from, or the installed generation]
    file: Option<PathBuf>,
    /// The bundle's minisign signature [default: FILE.minisig, if it exists]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The public key that must have signed the bundle, or a file with that key [default: the release key]
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        if let Some(file) = &self.file {
            return self.bundle(&Bundle::open(file)?, progress);
        }
        match Subject::of_this_process()? {
            Subject::Bundle(bundle) => self.bundle(&bundle, progress),
            Subject::Installed(generation) => self.installed(&generation, progress),
        }
    }

    fn bundle(&self, bundle: &Bundle, progress: &Progress) -> Result<()> {
        let total = bundle.manifest().frames.iter().map(|f| f.size).sum();
        let task = progress.task("verify", total);
        bundle.verify(|frame| task.advance(frame.size))?;
        task.clear();
        let origin =
            signature::check_bundle(bundle, self.signature.as_deref(), self.key.as_deref())?;
        let (path, id) = (bundle.path().display(), bundle.id());
        let len = bundle.trailer().file_len;
        if self.json {
            return print_json(&json!({
                "bundle": id, "bytes": len, "file": bundle.path(), "integrity": "whole", "signature": origin,
            }));
        }
        print(&format!(
            "{path} is whole: all {len} bytes match bundle {id}\n{origin}\n"
        ))
    }

    fn installed(&self, generation: &Generation, progress: &Progress) -> Result<()> {
        let manifest = generation.manifest();
        let components = generation.components()?;
        let total = components.iter().map(|c| manifest.unpacked_size(c)).sum();
        let files: usize = components.iter().map(|c| c.files.len()).sum();
        let task = progress.task("verify", total);
        let damages =
            Store::open_default()?.check(generation, Depth::Contents, |n| task.advance(n))?;
        task.clear();
        let (number, id) = (generation.number(), generation.id());
        let origin = generation.origin();
        if self.json {
            let objects: Vec<Value> = damages
                .iter()
                .map(|d| json!({ "path": d.path, "problem": d.problem }))
                .collect();
            let integrity = if damages.is_empty() {
                "whole"
            } else {
                "damaged"
            };
            print_json(&json!({
                "bundle": id, "bytes": total, "damages": objects, "files": files, "generation": number,
                "integrity": integrity, "signature": origin.as_ref().ok(),
            }))?;
        } else if damages.is_empty() {
            print(&format!(
                "generation {number} is whole: all {files} files ({}) match bundle {id}\n\
                 {}\n",
                bytes(total),
                recorded(&origin?)
            ))?;
        } else {
            let mut text = String::new();
            for damage in &damages {
                let _ = writeln!(text, "{damage}");
            }
            print(&text)?;
        }
        if damages.is_empty() {
            return Ok(());
        }
        let release = &manifest.release;
        Err(
            Error::new(Kind::Integrity, format!("generation {number} is damaged"))
                .expected(format!(
                    "{files} files and the links to them, as in bundle {}",
                    id.short(SHORT)
                ))
                .found(format!(
                    "{} of them missing, changed or added",
                    damages.len()
                ))
                .hint(format!(
                    "run `install --repair` with the bundle of release {release}"
                )),
        )
    }
}
