//! GitHub's REST API (version 2022-11-28): releases, their files' digests, and tags.
//!
//! A release's file has had a `digest` since June 2025; those of older files are null. Answers are kept with their
//! `ETag` in the cache: asked again, GitHub answers 304 without a body, which is not counted against the hourly limit
//! of a request with a token.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use stub::digest::{Digest, Sha256};
use stub::error::{Context, Error, Kind, Result};

use super::{Announced, Enough, Files, Upstreams, json, link};
use crate::address::path;
use crate::date;
use crate::files;
use crate::http::{Response, failed};
use crate::recipe::VersionSource;

/// Releases on a page. Each has up to some hundred files, so a page is some megabytes long.
const PER_PAGE: usize = 50;
/// How many pages are read. GitHub lists the newest first: later pages are of no use.
const PAGES: usize = 20;
/// A page is at most this many bytes long.
const PAGE_CAP: u64 = 32 << 20;
/// How long we wait for the limit to be lifted, and how often.
const LONGEST_WAIT: Duration = Duration::from_mins(3);
const WAITS: usize = 3;

/// A release, as the API describes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Release {
    pub(crate) tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    published_at: Option<String>,
    /// Its files.
    #[serde(default)]
    pub(crate) assets: Vec<Asset>,
}

/// A file of a release.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Asset {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// `uploaded`, unless something went wrong.
    state: Option<String>,
    digest: Option<String>,
    /// When it was put there, or replaced.
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

/// The parts of the address of a release's file, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) repository: String,
    /// With slashes, if the tag has some.
    pub(crate) tag: String,
    pub(crate) file: String,
}

/// An answer that was kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    etag: String,
    link: Option<String>,
    body: String,
}

/// A page of a list.
struct Page {
    body: Vec<u8>,
    next: Option<String>,
}

impl Place {
    /// Reads `https://github.com/<owner>/<name>/releases/download/<tag>/<file>`. The name of a file has no slash.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let path = path(url.strip_prefix("https://github.com/")?);
        let (repository, rest) = path.split_once("/releases/download/")?;
        let (tag, file) = rest.rsplit_once('/')?;
        let whole = repository.matches('/').count() == 1;
        whole.then(|| Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            file: file.to_owned(),
        })
    }
}

impl Release {
    /// When it last changed: when it was published, or when the last of these files, which are named by their
    /// addresses, was replaced.
    pub(crate) fn published(&self, urls: &[String]) -> Option<SystemTime> {
        let ours: Vec<Place> = urls.iter().filter_map(|url| Place::of(url)).collect();
        let ours = |asset: &&Asset| {
            let mut ours = ours.iter().filter(|place| place.tag == self.tag_name);
            ours.any(|place| place.file == asset.name)
        };
        let files = self.assets.iter().filter(ours);
        let replaced = files.filter_map(|asset| asset.updated_at.as_deref());
        let dates = self.published_at.as_deref().into_iter().chain(replaced);
        dates.filter_map(date::rfc3339).max()
    }
}

impl Asset {
    /// Its digest, as GitHub states it.
    pub(crate) fn digest(&self) -> Result<Option<Digest>> {
        let digest = self.digest.as_deref().map(str::parse).transpose();
        digest.about(|| format!("GitHub's digest of `{}`", self.name))
    }

    /// The state of its upload, if that is not finished.
    pub(crate) fn unfinished(&self) -> Option<&str> {
        self.state.as_deref().filter(|state| *state != "uploaded")
    }
}

impl Upstreams<'_> {
    /// The versions of a repository's releases; of its tags if it has no releases.
    pub(super) fn github_versions(
        &self,
        repository: &str,
        source: &VersionSource,
        previews: bool,
        files: &Files,
        enough: &Enough,
    ) -> Result<Vec<Announced>> {
        let mut found = Vec::new();
        let mut none = true;
        let list = format!("repos/{repository}/releases?per_page={PER_PAGE}");
        self.github_list(&list, |page: Vec<Release>| {
            for release in page {
                none = false;
                let usable = !release.draft && (previews || !release.prerelease);
                if let Some(version) = source.version_of(&release.tag_name).filter(|_| usable) {
                    let published = release.published(&files(&version));
                    found.push(Announced { version, published });
                }
                let key = (repository.to_owned(), release.tag_name.clone());
                self.releases.borrow_mut().insert(key, Some(release));
            }
            enough(&found)
        })?;
        if none {
            let list = format!("repos/{repository}/tags?per_page=100");
            self.github_list(&list, |page: Vec<Tag>| {
                found.extend(page.iter().filter_map(|tag| {
                    Some(Announced {
                        version: source.version_of(&tag.name)?,
                        published: None,
                    })
                }));
                enough(&found)
            })?;
        }
        Ok(found)
    }

    /// The release of a tag, if there is one.
    pub(crate) fn github_release(&self, repository: &str, tag: &str) -> Result<Option<Release>> {
        let key = (repository.to_owned(), tag.to_owned());
        if let Some(known) = self.releases.borrow().get(&key) {
            return Ok(known.clone());
        }
        let api = &self.endpoints.github_api;
        // The only ASCII characters that a tag may have and a path may not.
        let tag = tag
            .replace('%', "%25")
            .replace('#', "%23")
            .replace('/', "%2F");
        let url = format!("{api}/repos/{repository}/releases/tags/{tag}");
        let page = self.github_page(&url)?;
        let release = page.map(|p| json::<Release>(&url, &p.body)).transpose()?;
        self.releases.borrow_mut().insert(key, release.clone());
        Ok(release)
    }

    /// Reads a list page by page, until `done` or at its end.
    fn github_list<T: serde::de::DeserializeOwned>(
        &self,
        list: &str,
        mut done: impl FnMut(Vec<T>) -> bool,
    ) -> Result<()> {
        let api = &self.endpoints.github_api;
        let mut url = format!("{api}/{list}");
        let mut pages = link::Pages::of(url.clone(), PAGES);
        loop {
            pages.count(&url)?;
            let page = self.github_page(&url)?.ok_or_else(|| {
                Error::new(Kind::Input, format!("{url}: GitHub has no such repository"))
                    .hint("correct `repository` in the recipe")
            })?;
            if done(json(&url, &page.body)?) {
                return Ok(());
            }
            match page.next {
                // Our token goes to this host only, so the next page must be at this host, too.
                Some(next) if !next.starts_with(&format!("{api}/")) => {
                    return Err(Error::new(
                        Kind::Network,
                        format!("{url}: the next page of the list is at another address, which the builder does not follow"),
                    )
                    .expected(format!("{api}/…"))
                    .found(next)
                    .hint("a proxy may have answered in GitHub's place: open the address in a browser and compare"));
                }
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
    }

    /// A page of the API; `None` if there is no such thing.
    fn github_page(&self, url: &str) -> Result<Option<Page>> {
        let token = self.endpoints.github_token.as_deref();
        let authorization = token.map(|t| format!("Bearer {t}"));
        let kept = self.kept(url);
        let mut headers = vec![
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
        ];
        headers.extend(authorization.as_deref().map(|a| ("authorization", a)));
        headers.extend(kept.as_ref().map(|k| ("if-none-match", k.etag.as_str())));
        let address = self.endpoints.address(url);
        let mut said = None;
        for _ in 0..=WAITS {
            let response = self.client.get_limited(&address, &headers, PAGE_CAP)?;
            match (response.status, &kept) {
                (200, _) => {
                    let next = link::next(&response).map(|n| n.to_string());
                    // Addresses of the test's server stand for GitHub's own.
                    let next = next.map(|n| self.real(&n));
                    self.keep(url, next.as_deref(), &response);
                    let body = response.body;
                    return Ok(Some(Page { body, next }));
                }
                (304, Some(kept)) => {
                    return Ok(Some(Page {
                        body: kept.body.clone().into_bytes(),
                        next: kept.link.clone(),
                    }));
                }
                (404 | 410, _) => return Ok(None),
                (401, _) if token.is_some() => {
                    return Err(Error::new(Kind::Network, format!("{url}: GitHub refuses the token"))
                        .hint("set GITHUB_TOKEN to a token that is valid, or unset it: public repositories need none"));
                }
                (403 | 429, _) => {
                    let Some(wait) = asked_to_wait(&response, self.now()) else {
                        return Err(failed(url, response.refusal()));
                    };
                    said = response.said();
                    self.wait(wait, said.as_deref())?;
                }
                _ => return Err(failed(url, response.refusal())),
            }
        }
        Err(self.limited(None, said.as_deref()))
    }

    /// Undoes [`super::Endpoints::address`].
    fn real(&self, address: &str) -> String {
        let instead = &self.endpoints.instead;
        let real = instead
            .iter()
            .find_map(|(from, to)| Some(format!("{from}{}", address.strip_prefix(to.as_str())?)));
        real.unwrap_or_else(|| address.to_owned())
    }

    /// Waits as asked, if that is not too long. `said` is GitHub's reason.
    fn wait(&self, wait: Duration, said: Option<&str>) -> Result<()> {
        if wait > LONGEST_WAIT {
            return Err(self.limited(self.now().checked_add(wait), said));
        }
        let seconds = wait.as_secs();
        let why = said.map(|said| format!(": {said}")).unwrap_or_default();
        self.progress.line(format!(
            "waiting for {seconds} s, because of GitHub's limit on requests{why}"
        ));
        self.client.wait(wait);
        Ok(())
    }

    fn limited(&self, until: Option<SystemTime>, said: Option<&str>) -> Error {
        let error = Error::new(
            Kind::Network,
            format!(
                "{}: GitHub answers no more requests for now",
                self.endpoints.github_api
            ),
        );
        let error = match until {
            Some(until) => error.detail("until", date::shown(until)),
            None => error,
        };
        let error = match said {
            Some(said) => error.detail("GitHub says", said),
            None => error,
        };
        error.hint(if self.endpoints.github_token.is_some() {
            "try again then: the limit of this token is used up"
        } else {
            "try again then, or set GITHUB_TOKEN: with a token, which needs no permissions, GitHub answers 5000 requests an hour instead of 60"
        })
    }

    fn kept_at(&self, url: &str) -> std::path::PathBuf {
        let name = format!("{}.json", Sha256::of(url.as_bytes()));
        self.cache.root().join("github").join(name)
    }

    /// The answer of the last time, if it is there and usable.
    fn kept(&self, url: &str) -> Option<Kept> {
        let kept: Kept = serde_json::from_slice(&fs_err::read(self.kept_at(url)).ok()?).ok()?;
        (kept.url == url).then_some(kept)
    }

    /// Keeps an answer for the next time. A failure to keep it is ignored.
    fn keep(&self, url: &str, next: Option<&str>, response: &Response) {
        let (Some(etag), Ok(body)) = (
            response.header("etag"),
            String::from_utf8(response.body.clone()),
        ) else {
            return;
        };
        let kept = Kept {
            url: url.to_owned(),
            etag: etag.to_owned(),
            link: next.map(str::to_owned),
            body,
        };
        if let Ok(text) = serde_json::to_vec(&kept) {
            let _ = files::replace(&self.kept_at(url), &text);
        }
    }
}

/// How long to wait for a limit to be lifted, if the answer is about a limit: `retry-after` in seconds,
/// `x-ratelimit-reset` in seconds since 1970 when `x-ratelimit-remaining` is 0, and a minute where the answer says
/// neither. The secondary limit, of requests in a short time, may be a 403 that only its body tells from a refusal.
fn asked_to_wait(response: &Response, now: SystemTime) -> Option<Duration> {
    let number = |name: &str| -> Option<u64> { response.header(name)?.trim().parse().ok() };
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    if number("x-ratelimit-remaining") == Some(0)
        && let Some(reset) = number("x-ratelimit-reset")
    {
        let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(reset))?;
        let wait = reset.duration_since(now).unwrap_or_default();
        // The instant is cut to whole seconds.
        return wait.checked_add(Duration::from_secs(1));
    }
    let said = response.said().unwrap_or_default().to_ascii_lowercase();
    let limited = said.contains("rate limit") || said.contains("abuse detection");
    (response.status == 429 || limited).then(|| Duration::from_mins(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_address_says_which_release_it_belongs_to() {
        let url = "https://github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz";
        let place = Place::of(url).unwrap();
        assert_eq!(
            (
                place.repository.as_str(),
                place.tag.as_str(),
                place.file.as_str()
            ),
            ("etcd-io/etcd", "v3.6.14", "etcd-v3.6.14-linux-amd64.tar.gz")
        );
        for (url, tag, file) in [
            ("cli/v1.2/tool", "cli/v1.2", "tool"),
            ("cli%2Fv1.2/tool", "cli/v1.2", "tool"),
            ("v1%2Bk3s1/a%20b~c%2B%25?raw=1", "v1+k3s1", "a b~c+%"),
            ("v1+k3s1/tool#top", "v1+k3s1", "tool"),
        ] {
            let url = format!("https://github.com/a/b/releases/download/{url}");
            let place = Place::of(&url).unwrap();
            assert_eq!(
                (place.tag.as_str(), place.file.as_str()),
                (tag, file),
                "{url}"
            );
        }
        for other in [
            "https://github.com/etcd-io/etcd/archive/v3.6.14.tar.gz",
            "https://github.com/etcd/releases/download/v1/x",
            "https://example.org/a/b/releases/download/v1/x",
            "https://github.com/a/b/releases/download/v1",
        ] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn limits_are_read_as_github_documents_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let answer = |status, headers: &[(&'static str, &str)], body: &str| {
            let response = Response {
                status,
                url: String::new(),
                headers: headers
                    .iter()
                    .map(|(n, v)| {
                        let name = reqwest::header::HeaderName::from_static(n);
                        (name, v.parse().unwrap())
                    })
                    .collect(),
                body: body.as_bytes().to_vec(),
            };
            asked_to_wait(&response, now).map(|wait| wait.as_secs())
        };
        let after = |status, headers: &[(&'static str, &str)]| answer(status, headers, "");
        assert_eq!(after(403, &[("retry-after", "60")]), Some(60));
        let reset = ("x-ratelimit-reset", "1000090");
        assert_eq!(
            after(403, &[("x-ratelimit-remaining", "0"), reset]),
            Some(91)
        );
        assert_eq!(after(403, &[("x-ratelimit-remaining", "5"), reset]), None);
        assert_eq!(after(429, &[]), Some(60));
        assert_eq!(after(403, &[("retry-after", "x")]), None);
        for (message, wait) in [
            (
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                Some(60),
            ),
            (
                "You have triggered an abuse detection mechanism. Please retry your request again later.",
                Some(60),
            ),
            ("Resource not accessible by integration", None),
        ] {
            let body = serde_json::json!({"message": message}).to_string();
            assert_eq!(answer(403, &[], &body), wait, "{message}");
            assert_eq!(
                answer(403, &[("x-ratelimit-remaining", "59"), reset], &body),
                wait
            );
        }
    }
}
