//! `builder build`: from the lockfile and a filled cache to a bundle.

pub mod frames;
pub mod head;
mod image;
pub mod members;
pub mod plan;

use std::collections::BTreeMap;
use std::io::{BufWriter, IntoInnerError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fs_err::File;
use serde::Serialize;
use stub::bundle::{
    self, Arch, BundlePath, Component, FrameEntry, Manifest, Mode, Name, STUB_COMPONENT, StubEntry,
    Version,
};
use stub::digest::{Hasher, Sha256};
use stub::error::{Context, Error, Kind, Result};
use stub::paths::At as _;
use stub::progress::{Progress, bytes};
use stub::table::table;

use self::frames::FrameCache;
use self::head::Head;
use self::plan::{Families, Planned};
use crate::cache::Cache;
use crate::lockfile::Lockfile;
use crate::tbz;

/// An order for a build.
#[derive(Debug)]
pub struct Order<'a> {
    /// The pins.
    pub lockfile: &'a Lockfile,
    /// The processor.
    pub arch: Arch,
    /// Only these components; all when empty.
    pub only: &'a [Name],
    /// Compression level, one of [`bundle::frame::LEVELS`].
    pub level: i32,
    /// The stub.
    pub head: Head,
    /// Where the bundle goes.
    pub output: &'a Path,
}

/// The result of a build.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// Where the bundle lies.
    pub file: PathBuf,
    /// The bundle id, if it is a bundle.
    pub id: Option<Sha256>,
    /// Digest of the whole file, for `SHA256SUMS`.
    pub sha256: Sha256,
    /// Length of the file in bytes.
    pub size: u64,
    /// Sizes by component, the stub first. Nothing for an archive, which is compressed as a whole.
    pub components: Vec<BuiltComponent>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// The size of a component in a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct BuiltComponent {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// How many files it has.
    pub files: usize,
    /// Their bytes once unpacked.
    pub unpacked: u64,
    /// Their bytes in the bundle. A content that several components share counts for the first of them.
    pub packed: u64,
}

/// Builds a bundle from the cache.
///
/// The file appears in one step, synced and executable; a failure leaves a previous one as it was.
pub fn build(order: &Order, cache: &Cache, progress: &Progress) -> Result<Built> {
    let started = Instant::now();
    let parts = Parts::gather(order, cache, progress).at(cache.root())?;
    let frames = FrameCache::new(cache, order.level);
    let plan = parts.plan(&frames, progress).at(cache.root())?;
    let entries = frames.fill(&plan, progress).at(cache.root())?;
    let manifest = parts.manifest(order, entries)?;
    let mut id = None;
    let waiting = progress.wait(format!("write {}", order.output.display()));
    let (sha256, size) = write_file(order.output, 0o755, |out| {
        let stub = File::open(&order.head.program)?;
        id = Some(bundle::write(out, stub, &manifest, |index| {
            frames.frame(&plan[index])
        })?);
        Ok(())
    })?;
    drop(waiting);
    Ok(Built {
        file: order.output.to_owned(),
        id,
        sha256,
        size,
        components: component_reports(&manifest)?,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Packs the same files as the classic archive of a directory `usernetes/`, as reproducibly. It carries no manifest:
/// only its digest identifies it.
pub fn build_tbz(order: &Order, cache: &Cache, progress: &Progress) -> Result<Built> {
    /// Where an entry's content comes from.
    enum From {
        Stub,
        Cache(Mode, Sha256),
        Link(BundlePath),
    }
    let started = Instant::now();
    let parts = Parts::gather(order, cache, progress).at(cache.root())?;
    let mut entries = BTreeMap::new();
    entries.insert(
        BundlePath::new(format!("bin/{STUB_COMPONENT}"))?,
        From::Stub,
    );
    for component in &parts.components {
        for file in &component.files {
            entries.insert(file.path.clone(), From::Cache(file.mode, file.sha256));
        }
        for link in &component.links {
            entries.insert(link.path.clone(), From::Link(link.target.clone()));
        }
    }
    let task = progress.task("pack as .tbz", parts.sizes.values().sum());
    let (sha256, size) = write_file(order.output, 0o644, |out| {
        tbz::write(
            out,
            entries.into_iter().map(|(path, from)| {
                let (mode, content) = match from {
                    From::Stub => (
                        Mode::Program,
                        tbz::Content::File(fs_err::read(&order.head.program)?),
                    ),
                    From::Cache(mode, sha256) => (mode, tbz::Content::File(cache.content(sha256)?)),
                    From::Link(target) => (Mode::Data, tbz::Content::Link(target)),
                };
                if let tbz::Content::File(bytes) = &content {
                    task.advance(bytes.len() as u64);
                }
                Ok(tbz::Member {
                    path,
                    mode: mode.bits(),
                    content,
                })
            }),
        )
    })?;
    task.clear();
    Ok(Built {
        file: order.output.to_owned(),
        id: None,
        sha256,
        size,
        components: Vec::new(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The contents of a bundle, uncompressed in the cache.
struct Parts {
    components: Vec<Component>,
    families: BTreeMap<Name, Name>,
    sizes: BTreeMap<Sha256, u64>,
}

impl Parts {
    /// Takes the files out of the downloads.
    fn gather(order: &Order, cache: &Cache, progress: &Progress) -> Result<Self> {
        let mut parts = Self {
            components: Vec::new(),
            families: BTreeMap::new(),
            sizes: BTreeMap::new(),
        };
        for (name, (locked, artifacts)) in order.lockfile.select(order.arch, order.only)? {
            let (component, sizes) =
                members::component(name, locked, artifacts, order.arch, cache, progress)?;
            parts.components.push(component);
            parts.families.insert(name.clone(), locked.family.clone());
            parts.sizes.extend(sizes);
        }
        Ok(parts)
    }

    /// The order of the contents, and the prefix of each.
    fn plan(&self, frames: &FrameCache, progress: &Progress) -> Result<Vec<Planned>> {
        let families = Families::of(&self.components, &self.families, &self.sizes);
        let measured = frames.measure(families.to_measure(), &self.sizes, progress)?;
        Ok(families.plan(&measured))
    }

    fn manifest(self, order: &Order, frames: Vec<FrameEntry>) -> Result<Manifest> {
        let (sha256, size) = Sha256::of_reader(File::open(&order.head.program)?)?;
        let manifest = Manifest {
            arch: order.arch,
            components: self.components,
            frames,
            level: order.level,
            lockfile: order.lockfile.digest()?,
            release: Version::new(env!("CARGO_PKG_VERSION"))?,
            stub: StubEntry {
                libraries: order.head.libraries.clone(),
                sha256,
                size,
            },
        };
        manifest.check()?;
        Ok(manifest)
    }
}

/// Writes a file beside its place, syncs it and puts it there in one step. Gives its digest and its length in bytes.
fn write_file(
    output: &Path,
    mode: u32,
    write: impl FnOnce(&mut Out) -> Result<()>,
) -> Result<(Sha256, u64)> {
    try_to_write(output, mode, write)
        .map_err(|e| e.elsewhere("name a place on another file system with `-o FILE`"))
}

type Out<'a> = BufWriter<Hasher<&'a mut std::fs::File>>;

fn try_to_write(
    output: &Path,
    mode: u32,
    write: impl FnOnce(&mut Out) -> Result<()>,
) -> Result<(Sha256, u64)> {
    let directory = output
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs_err::create_dir_all(directory)?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".usernetes-")
        .tempfile_in(directory)
        .about(|| directory.display())?;
    let mut out = BufWriter::with_capacity(1 << 20, Hasher::new(temporary.as_file_mut()));
    write(&mut out)?;
    let (file, sha256) = out
        .into_inner()
        .map_err(IntoInnerError::into_error)?
        .finish();
    // The mode must not depend on the umask: everybody gets the same file.
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    file.sync_all()?;
    let size = file.metadata()?.len();
    temporary
        .persist(output)
        .map_err(|e| Error::from(e.error).about(output.display()))?;
    File::open(directory)?.sync_all()?;
    Ok((sha256, size))
}

/// Refuses a build that cannot succeed: the error names all unpinned downloads at once.
pub fn require_pinned(lockfile: &Lockfile, arch: Arch, only: &[Name]) -> Result<()> {
    let selected = lockfile.select(arch, only)?;
    let unpinned: Vec<&str> = selected
        .iter()
        .filter(|(_, (_, artifacts))| artifacts.iter().any(|a| a.digest.is_none()))
        .map(|(name, _)| name.as_str())
        .collect();
    if unpinned.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        "lockfile.json has no digest for some downloads, so nothing can be built from them",
    )
    .detail("unpinned", unpinned.join(", "))
    .hint(format!(
        "pin them with `builder lock --update {}`",
        unpinned.join(" ")
    )))
}

fn component_reports(manifest: &Manifest) -> Result<Vec<BuiltComponent>> {
    let mut packed: BTreeMap<Sha256, u64> = manifest
        .frames
        .iter()
        .map(|f| (f.sha256, f.length))
        .collect();
    let report = |component: &Component, unpacked, packed| BuiltComponent {
        name: component.name.clone(),
        version: component.version.clone(),
        files: component.files.len(),
        unpacked,
        packed,
    };
    let mut reports = vec![report(
        &manifest.stub_component()?,
        manifest.stub.size,
        manifest.stub.size,
    )];
    for component in &manifest.components {
        let bytes = component
            .files
            .iter()
            .filter_map(|f| packed.remove(&f.sha256))
            .sum();
        reports.push(report(component, manifest.unpacked_size(component), bytes));
    }
    Ok(reports)
}

impl Built {
    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        if self.components.is_empty() {
            return format!("{} packed\n", bytes(self.size));
        }
        let heads = [
            "component",
            "version",
            "files",
            "unpacked",
            "packed",
            "ratio",
        ];
        let mut rows = vec![heads.map(str::to_owned)];
        let mut row = |name: &str, version: &str, files: usize, unpacked: u64, packed: u64| {
            let ratio = (packed * 1000).checked_div(unpacked).unwrap_or_default();
            rows.push([
                name.to_owned(),
                version.to_owned(),
                files.to_string(),
                bytes(unpacked),
                bytes(packed),
                format!("{}.{}%", ratio / 10, ratio % 10),
            ]);
        };
        for c in &self.components {
            row(
                c.name.as_str(),
                c.version.as_str(),
                c.files,
                c.unpacked,
                c.packed,
            );
        }
        let files = self.components.iter().map(|c| c.files).sum();
        let unpacked = self.components.iter().map(|c| c.unpacked).sum();
        row("total", "", files, unpacked, self.size);
        table(&rows, &[2, 3, 4, 5])
    }
}
