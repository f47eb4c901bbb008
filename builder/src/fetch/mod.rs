//! `builder fetch`: everything the lockfile names, verified, into the cache.

mod download;
mod failures;
mod partial;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use stub::bundle::{Arch, Name};
use stub::digest::Digest;
use stub::error::{Context, Error, Kind, Result};
use stub::progress::Progress;

use self::download::{CAP, Downloader, Obtained, Source, Wanted};
use crate::cache::Cache;
use crate::debian;
use crate::http::Client;
use crate::lockfile::Lockfile;
use crate::mirror::Mirror;
use crate::oci::{self, DOCUMENT_CAP, PIN_ANOTHER, Resolved};
use crate::registry::Repository;

/// How many downloads run at once.
const AT_ONCE: usize = 4;

/// How to fetch.
pub struct Options<'a> {
    /// Where files are looked for before their own URLs.
    pub mirror: Option<Mirror>,
    /// Do not use the network: a file that is neither in the cache nor in the mirror's directory is an error.
    pub offline: bool,
    /// Gives the URL of the Debian archive, which stands for `debian:` in the lockfile. Asked once, when first needed.
    pub debian_base: &'a (dyn Fn() -> Result<String> + Sync),
    /// The HTTP client. Not used when offline.
    pub client: &'a Client,
}

/// The result of a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Files that were in the cache. An image is several.
    pub cached: usize,
    /// Files that are in the cache now.
    pub fetched: usize,
    /// Bytes that came from mirrors and servers.
    pub bytes: u64,
}

/// A download of the lockfile, with all places it is published at.
struct Job<'a> {
    what: String,
    digest: Digest,
    size: Option<u64>,
    oci: bool,
    urls: Vec<&'a str>,
}

/// The result of a job.
#[derive(Default)]
struct Done {
    cached: usize,
    fetched: usize,
    missing: Vec<(String, Digest)>,
}

struct Run<'a> {
    arch: Arch,
    options: &'a Options<'a>,
    downloader: Downloader<'a>,
    debian_base: &'a (dyn Fn() -> Result<String, String> + Sync),
}

/// Fetches everything the lockfile needs for an architecture into the cache, up to four files at once. `only`
/// restricts it to the components named. Files in the cache are read and verified, too; each digest is
/// fetched once. Everything that can be fetched is, even if something else fails: the error is that of the first, and
/// names the others. The next fetch resumes interrupted downloads.
pub fn fetch(
    lockfile: &Lockfile,
    arch: Arch,
    only: &[Name],
    cache: &Cache,
    options: &Options,
    progress: &Progress,
) -> Result<Summary> {
    if let (true, Some(Mirror::Url(url))) = (options.offline, &options.mirror) {
        return Err(Error::new(
            Kind::Usage,
            format!("`--offline` forbids the mirror {url}, which needs the network"),
        )
        .hint("copy the mirror and name its directory: `--offline --mirror DIR`"));
    }
    let jobs = plan(lockfile, arch, only)?;
    let base = OnceLock::new();
    let ask = || (options.debian_base)().map_err(|e| e.message().to_owned());
    let run = Run {
        arch,
        options,
        downloader: Downloader {
            cache,
            client: options.client,
            progress,
            offline: options.offline,
            received: AtomicU64::new(0),
            hopeless: AtomicBool::new(false),
            lockless: AtomicBool::new(false),
        },
        debian_base: &|| base.get_or_init(ask).clone(),
    };
    let results: Vec<OnceLock<Result<Done>>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(jobs.len()) {
            scope.spawn(|| {
                // Without a network, or with a full disk, the rest would fail in the same way, only later.
                while !run.downloader.hopeless.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let result = run.job(job);
                    if result.as_ref().is_err_and(|e| e.kind() == Kind::Host) {
                        run.downloader.hopeless.store(true, Ordering::Relaxed);
                    }
                    let _ = results[index].set(result);
                }
            });
        }
    });
    let mut summary = Summary::default();
    let mut missing = Vec::new();
    let mut failures = Vec::new();
    for result in results.into_iter().filter_map(OnceLock::into_inner) {
        match result {
            Ok(done) => {
                summary.cached += done.cached;
                summary.fetched += done.fetched;
                missing.extend(done.missing);
            }
            Err(error) => failures.push(error),
        }
    }
    if let Some(error) = failures::of_failures(failures) {
        return Err(error);
    }
    if !missing.is_empty() {
        return Err(failures::of_missing(&missing, cache));
    }
    summary.bytes = run.downloader.received.into_inner();
    Ok(summary)
}

/// The jobs, each digest once.
fn plan<'a>(lockfile: &'a Lockfile, arch: Arch, only: &[Name]) -> Result<Vec<Job<'a>>> {
    let mut jobs: Vec<Job> = Vec::new();
    for (name, (component, artifacts)) in lockfile.select(arch, only)? {
        for artifact in artifacts {
            let digest = artifact.pinned(name)?;
            let urls = artifact.urls.iter().map(String::as_str);
            if let Some(job) = jobs.iter_mut().find(|j| j.digest == digest) {
                for url in urls {
                    if !job.urls.contains(&url) {
                        job.urls.push(url);
                    }
                }
                continue;
            }
            jobs.push(Job {
                what: format!("{name} {}", component.version),
                digest,
                size: artifact.size,
                oci: artifact.format.is_oci(),
                urls: urls.collect(),
            });
        }
    }
    Ok(jobs)
}

impl Run<'_> {
    fn job(&self, job: &Job) -> Result<Done> {
        let mut done = Done::default();
        if job.oci {
            self.image(job, &mut done)?;
            return Ok(done);
        }
        let urls = job.urls.iter().map(|url| match debian::archive_path(url) {
            Some(path) => Source::Debian(path, self.debian_base),
            None => Source::Url((*url).to_owned()),
        });
        self.file(&job.what, job.digest, job.size, CAP, urls, &mut done)?;
        Ok(done)
    }

    /// An image is fetched document by document: each names the next ones.
    fn image(&self, job: &Job, done: &mut Done) -> Result<()> {
        let what = &job.what;
        let registries = job
            .urls
            .iter()
            .map(|url| Repository::of(url, self.options.client).about(|| what));
        let registries = registries.collect::<Result<Vec<_>>>()?;
        let mut get = |what: &str, digest: &Digest, size, cap, blob| {
            let sources = registries.iter().map(|registry| {
                let url = registry.url(if blob { "blobs" } else { "manifests" }, digest);
                Source::Repository(registry, url)
            });
            self.file(what, *digest, size, cap, sources, done)
        };
        if !get(what, &job.digest, job.size, DOCUMENT_CAP, false)? {
            return Ok(());
        }
        let image = loop {
            match oci::resolve(self.downloader.cache, &job.digest, self.arch).about(|| what)? {
                Resolved::Image(image) => break *image,
                Resolved::NoPlatform(lack) => {
                    return Err(lack.error().about(what).hint(PIN_ANOTHER));
                }
                Resolved::Missing { part, blob } => {
                    let what =
                        format!("{what} {}", if blob { "configuration" } else { "manifest" });
                    if !get(&what, &part.digest, Some(part.size), DOCUMENT_CAP, blob)? {
                        return Ok(());
                    }
                }
            }
        };
        get(
            &format!("{what} configuration"),
            &image.config.digest,
            Some(image.config.size),
            DOCUMENT_CAP,
            true,
        )?;
        for (number, layer) in (1..).zip(&image.layers) {
            let what = format!("{what} layer {number}/{}", image.layers.len());
            get(&what, &layer.digest, Some(layer.size), CAP, true)?;
        }
        // Documents that led to others have been read without being asked for.
        done.cached = image.parts().count() - done.fetched;
        Ok(())
    }

    /// Whether the file is in the cache now; if not, it is noted as missing.
    fn file<'s>(
        &'s self,
        what: &str,
        digest: Digest,
        size: Option<u64>,
        cap: u64,
        published: impl Iterator<Item = Source<'s>>,
        done: &mut Done,
    ) -> Result<bool> {
        let mut sources = Vec::new();
        let key = Cache::key(&digest);
        match &self.options.mirror {
            Some(Mirror::Directory(path)) => sources.push(Source::Directory(path.join(key))),
            Some(Mirror::Url(url)) => sources.push(Source::Url(format!("{url}/{key}"))),
            None => {}
        }
        if !self.options.offline {
            sources.extend(published);
        }
        let outcome = self.downloader.obtain(&Wanted {
            digest,
            size,
            cap,
            what,
            sources,
        })?;
        match outcome {
            Obtained::Cached => done.cached += 1,
            Obtained::Fetched => done.fetched += 1,
            Obtained::Missing => done.missing.push((what.to_owned(), digest)),
        }
        Ok(outcome != Obtained::Missing)
    }
}
