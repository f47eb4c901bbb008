//! Getting one file by its digest: from the cache, a mirror, or its URLs in turn.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::blocking::Response;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE,
};
use stub::digest::Digest;
use stub::error::Result;
use stub::progress::{Progress, Task, bytes};

use super::failures::Failures;
use super::partial::{Origin, Partial};
use crate::cache::Cache;
use crate::http::{Client, Failure, refused, status_text};
use crate::registry::Repository;

/// No download is longer than this many bytes. It limits a download without a pinned length.
pub(super) const CAP: u64 = 2 << 30;

/// A file that is wanted.
pub(super) struct Wanted<'a> {
    pub digest: Digest,
    /// Its exact length in bytes, if that is pinned.
    pub size: Option<u64>,
    /// Its greatest length in bytes otherwise.
    pub cap: u64,
    /// Its name in messages: `etcd 3.5.30`.
    pub what: &'a str,
    /// Where it may be, the best place first.
    pub sources: Vec<Source<'a>>,
}

/// A place where a file may be.
pub(super) enum Source<'a> {
    /// A mirror's directory: the file in it.
    Directory(PathBuf),
    /// A URL.
    Url(String),
    /// A path in the Debian archive, and a function that gives the archive's URL or the reason why there is none.
    Debian(String, &'a (dyn Fn() -> Result<String, String> + Sync)),
    /// A URL of a registry.
    Repository(&'a Repository<'a>, String),
}

impl Source<'_> {
    /// The exact place, or the reason why there is none.
    fn place(&self) -> Result<String, Failure> {
        Ok(match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Url(url) | Self::Repository(_, url) => url.clone(),
            Self::Debian(path, base) => {
                let base = base().map_err(Failure::Final)?;
                format!("{}/{path}", base.trim_end_matches('/'))
            }
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Debian(path, _) => self.place().unwrap_or_else(|_| format!("debian:{path}")),
            _ => self.place().unwrap_or_default(),
        }
    }
}

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obtained {
    /// It was in the cache.
    Cached,
    /// It is in the cache now.
    Fetched,
    /// It is not in the cache, and fetching is forbidden.
    Missing,
}

/// The state that all downloads of one run share.
pub(super) struct Downloader<'a> {
    pub cache: &'a Cache,
    pub client: &'a Client,
    pub progress: &'a Progress,
    /// Whether sources are directories only.
    pub offline: bool,
    /// Bytes that have come from mirrors and servers, including those that were of no use.
    pub received: AtomicU64,
    /// Set when the other downloads would fail too, for one because no host at all can be reached.
    pub hopeless: AtomicBool,
    /// Set after the message that the cache's file system has no locks.
    pub lockless: AtomicBool,
}

/// Facts about the bytes to come.
struct Incoming {
    /// Whether they continue the bytes of an earlier try.
    resumed: bool,
    /// The total number of bytes, including the earlier ones.
    total: Option<u64>,
    /// An addition to the error if they are wrong.
    note: &'static str,
}

impl Downloader<'_> {
    /// Gets a file into the cache, verified.
    pub(super) fn obtain(&self, wanted: &Wanted) -> Result<Obtained> {
        if self.cache.find(&wanted.digest)?.is_some() {
            return Ok(Obtained::Cached);
        }
        if wanted.sources.is_empty() {
            return Ok(Obtained::Missing);
        }
        if let Some(found) = self.cache.damaged(&wanted.digest) {
            let path = self.cache.path(&wanted.digest);
            self.progress.line(format!(
                "{}: {} was damaged and has been removed; fetching it again: expected {}, found {found}",
                wanted.what,
                path.display(),
                wanted.digest
            ));
        }
        let mut partial = Partial::open(self.cache, wanted.digest, || {
            let line = format!("{}: another process is fetching it; waiting", wanted.what);
            self.progress.line(line);
        })?;
        if !partial.is_locked() && !self.lockless.swap(true, Ordering::Relaxed) {
            self.progress.line(format!(
                "{}: the file system has no locks: fetching without them, so another fetch at the same time may download the same files",
                self.cache.root().display()
            ));
        }
        if self.cache.find(&wanted.digest)?.is_some() {
            partial.leave()?;
            return Ok(Obtained::Cached);
        }
        let task = self.progress.task(wanted.what, wanted.size.unwrap_or(0));
        let mut failures = Failures::default();
        for source in &wanted.sources {
            let attempt = || self.attempt(source, wanted, &mut partial, &task);
            match self.client.retrying(attempt) {
                Ok(()) => {
                    task.finish(bytes(partial.len()));
                    return Ok(Obtained::Fetched);
                }
                Err(Failure::Local(error)) => {
                    task.clear();
                    return Err(error.about(wanted.what));
                }
                Err(failure) => failures.add(source.name(), failure),
            }
        }
        task.clear();
        partial.leave()?;
        if self.offline && !failures.wrong {
            return Ok(Obtained::Missing);
        }
        if failures.unreachable && !self.client.answered() {
            self.hopeless.store(true, Ordering::Relaxed);
        }
        Err(failures.error(wanted.what))
    }

    fn attempt(
        &self,
        source: &Source,
        wanted: &Wanted,
        partial: &mut Partial,
        task: &Task,
    ) -> Result<(), Failure> {
        if let Source::Directory(path) = source {
            return self.copy(path, wanted, partial, task);
        }
        let url = source.place()?;
        let earlier = partial.resume(&url)?;
        if earlier.is_some() && partial.publish()?.is_ok() {
            return Ok(());
        }
        let range = format!("bytes={}-", partial.len());
        let mut headers = Vec::new();
        if let Some(validator) = earlier.as_ref().and_then(|o| o.validator.as_deref()) {
            headers.push((RANGE.as_str(), range.as_str()));
            headers.push((IF_RANGE.as_str(), validator));
        }
        let answer = match source {
            Source::Repository(registry, url) => registry.send(url, &headers)?,
            _ => self.client.send_to_check(&url, &headers)?,
        };
        let note = note(&answer);
        let incoming = match (answer.status().as_u16(), earlier) {
            (200, _) => {
                let total = header(&answer, CONTENT_LENGTH).and_then(|l| l.parse().ok());
                check_length(wanted.size, total, note)?;
                let validator = validator(&answer);
                let resumed = false;
                partial.begin(&Origin {
                    url,
                    validator,
                    total,
                })?;
                Incoming {
                    resumed,
                    total,
                    note,
                }
            }
            (206, Some(Origin { total, .. })) if continues(&answer, partial.len(), total) => {
                let resumed = true;
                Incoming {
                    resumed,
                    total,
                    note,
                }
            }
            (status @ (206 | 416), Some(_)) => {
                partial.clear()?;
                return Err(Failure::anew(status_text(status)));
            }
            _ => return Err(Failure::Final(refused(answer))),
        };
        let broken = |e: &io::Error| self.client.broken(e);
        self.receive(answer, &incoming, wanted, partial, task, broken)
    }

    /// Copies from a mirror's directory.
    fn copy(
        &self,
        path: &Path,
        wanted: &Wanted,
        partial: &mut Partial,
        task: &Task,
    ) -> Result<(), Failure> {
        let broken = |e: &io::Error| Failure::Final(e.to_string());
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::Final("not in this mirror".to_owned()));
            }
            Err(e) => return Err(broken(&e)),
        };
        let total = Some(file.metadata()?.len());
        check_length(wanted.size, total, "")?;
        partial.clear()?;
        let incoming = Incoming {
            resumed: false,
            total,
            note: "",
        };
        self.receive(file, &incoming, wanted, partial, task, broken)
    }

    /// Writes the bytes that arrive, and publishes the file if its digest is right.
    fn receive(
        &self,
        mut from: impl Read,
        incoming: &Incoming,
        wanted: &Wanted,
        partial: &mut Partial,
        task: &Task,
        broken: impl Fn(&io::Error) -> Failure,
    ) -> Result<(), Failure> {
        let total = wanted.size.or(incoming.total);
        task.set_total(total.unwrap_or(0));
        task.set(partial.len());
        let limit = wanted.size.unwrap_or(wanted.cap);
        let mut buffer = vec![0; 64 * 1024];
        let (expected, found) = loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => {
                    let Err(found) = partial.publish()? else {
                        return Ok(());
                    };
                    if let Some(total) = total.filter(|t| partial.len() < *t) {
                        let reason = format!("it ended after {} of {total} bytes", partial.len());
                        return Err(Failure::Passing { reason, wait: None });
                    }
                    break (wanted.digest.to_string(), found.to_string());
                }
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(broken(&e)),
            };
            self.received.fetch_add(read as u64, Ordering::Relaxed);
            if partial.len() + read as u64 > limit {
                break (format!("at most {limit} bytes"), "more".to_owned());
            }
            partial.write(&buffer[..read])?;
            task.advance(read as u64);
        };
        partial.clear()?;
        // The first part may be from before the file was changed over there.
        Err(if incoming.resumed {
            Failure::anew("wrong bytes after resuming".to_owned())
        } else {
            let found = found + incoming.note;
            Failure::Wrong { expected, found }
        })
    }
}

/// Compares the length that is pinned with the one that is there, if both are known.
fn check_length(pinned: Option<u64>, there: Option<u64>, note: &str) -> Result<(), Failure> {
    match (pinned, there) {
        (Some(pinned), Some(there)) if pinned != there => Err(Failure::Wrong {
            expected: format!("{pinned} bytes"),
            found: format!("{there} bytes{note}"),
        }),
        _ => Ok(()),
    }
}

fn header(answer: &Response, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}

/// The server's name for this version of the file. A weak `ETag` does not promise the same bytes (RFC 9110, 13.1.5).
fn validator(answer: &Response) -> Option<String> {
    let etag = header(answer, ETAG).filter(|tag| !tag.starts_with("W/"));
    let validator = etag.or_else(|| header(answer, LAST_MODIFIED));
    validator.map(str::to_owned)
}

/// Whether a 206 answer continues at our position, in a file of the same length.
fn continues(answer: &Response, from: u64, total: Option<u64>) -> bool {
    let range = header(answer, CONTENT_RANGE).and_then(|r| r.strip_prefix("bytes "));
    let Some((range, whole)) = range.and_then(|r| r.split_once('/')) else {
        return false;
    };
    let first = range.split_once('-').map(|(first, _)| first.parse());
    first == Some(Ok(from)) && total.is_none_or(|t| whole == "*" || whole.parse() == Ok(t))
}

/// Recognises the web page that a proxy or login page sends instead of a file.
fn note(answer: &Response) -> &'static str {
    match header(answer, CONTENT_TYPE) {
        Some(text) if text.starts_with("text/html") => ", a web page",
        _ => "",
    }
}
