//! Upstreams on a local server, below the names of the real hosts: `/api.github.com/repos/…`, `/dl.k8s.io/release/…`,
//! and for registries `/v2/registry.k8s.io/…`.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use builder::cache::Cache;
use builder::http::{Client, Settings};
use builder::lock::newer::Newer;
use builder::lock::update::{Tools, Update, Updated};
use builder::lockfile::Lockfile;
use builder::recipe::{self, Recipe};
use builder::source::Endpoints;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use stub::bundle::{Arch, Name};
use stub::digest::Sha256;
use stub::error::{Error, Result};
use stub::progress::Progress;

use support::server::{Behaviour, Server};

/// 23 November 2026, midnight UTC.
const NOW: u64 = 1_795_392_000;
/// Long before that.
pub(crate) const OLD: &str = "2026-10-01T09:30:00Z";

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) home: tempfile::TempDir,
    pub(crate) cache: Cache,
    pub(crate) endpoints: Endpoints,
    recipes: BTreeMap<Name, Recipe>,
    client: Client,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let server = Server::start();
        let host = server.host();
        let home = tempfile::tempdir().unwrap();
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        Self {
            cache: Cache::open(home.path().join("cache")).unwrap(),
            endpoints: Endpoints {
                instead: vec![
                    ("https://".to_owned(), format!("http://{host}/")),
                    ("oci://".to_owned(), format!("oci://{host}/")),
                ],
                ..Endpoints::default()
            },
            server,
            home,
            recipes: BTreeMap::new(),
            client: Client::with(Settings {
                connect: Duration::from_secs(20),
                stall: Duration::from_secs(20),
                proxies: false,
                sleep: Box::new(move |wait| noted.lock().unwrap().push(wait)),
            }),
            waits,
        }
    }

    /// Adds a recipe.
    pub(crate) fn recipe(&mut self, name: &str, text: &str) -> &mut Self {
        let recipe = Recipe::parse(text).unwrap();
        self.recipes.insert(Name::new(name).unwrap(), recipe);
        self
    }

    /// Takes the recipes of a directory.
    pub(crate) fn read_recipes(&mut self, directory: &std::path::Path) -> &BTreeMap<Name, Recipe> {
        self.recipes = recipe::read_all(directory).unwrap();
        &self.recipes
    }

    pub(crate) fn recipes(&self) -> &BTreeMap<Name, Recipe> {
        &self.recipes
    }

    /// Answers for a published address.
    pub(crate) fn put(&self, url: &str, content: &[u8]) {
        self.route(url, content, [Behaviour::Good]);
    }

    pub(crate) fn route(
        &self,
        url: &str,
        content: &[u8],
        script: impl IntoIterator<Item = Behaviour>,
    ) {
        let path = url.strip_prefix("https:/").unwrap();
        self.server.route(path, content, script);
    }

    /// The requests for a published address.
    pub(crate) fn asked(&self, url: &str) -> usize {
        let path = url.strip_prefix("https:/").unwrap();
        self.server.requests_for(path).len()
    }

    /// Publishes releases of a repository, the newest first, in pages of fifty, each also by its tag, and their files.
    pub(crate) fn releases(&self, repository: &str, releases: &[Release]) {
        let all: Vec<Value> = releases.iter().map(|r| r.json(repository)).collect();
        let pages: Vec<Vec<u8>> = all
            .chunks(50)
            .map(|page| json!(page).to_string().into_bytes())
            .collect();
        let api = format!("https://api.github.com/repos/{repository}/releases");
        let pages = if pages.is_empty() {
            vec![b"[]".to_vec()]
        } else {
            pages
        };
        self.route(&api, b"", [Behaviour::Pages(Arc::new(pages))]);
        for (release, value) in releases.iter().zip(&all) {
            let at = format!("{api}/tags/{}", release.tag);
            self.put(&at, value.to_string().as_bytes());
            for (name, content) in &release.files {
                self.put(&release.file(repository, name), content);
            }
        }
    }

    pub(crate) fn update(&self, old: &Lockfile) -> Result<Updated> {
        self.update_with(old, |_| {})
    }

    pub(crate) fn update_with(
        &self,
        old: &Lockfile,
        change: impl FnOnce(&mut Update<'_>),
    ) -> Result<Updated> {
        let progress = Progress::silent();
        let mut update = self.order();
        change(&mut update);
        update.run(&self.recipes, old, self.tools(&progress))
    }

    /// An update of one component.
    pub(crate) fn update_only(&self, name: &str, old: &Lockfile) -> Result<Updated> {
        let progress = Progress::silent();
        let names = [Name::new(name).unwrap()];
        let mut update = self.order();
        update.names = &names;
        update.run(&self.recipes, old, self.tools(&progress))
    }

    pub(crate) fn newer(&self, old: &Lockfile) -> Result<Vec<Newer>> {
        let progress = Progress::silent();
        self.order()
            .newer(&self.recipes, old, self.tools(&progress))
    }

    fn order(&self) -> Update<'_> {
        Update {
            names: &[],
            arch: Arch::X86_64,
            debian_archive: None,
            debian_suite: None,
            directory: self.home.path(),
            endpoints: &self.endpoints,
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
            min_age: Duration::from_hours(72),
            allow_downgrade: false,
            allow_weaker_evidence: false,
        }
    }

    fn tools<'a>(&'a self, progress: &'a Progress) -> Tools<'a> {
        Tools {
            client: &self.client,
            cache: &self.cache,
            progress,
        }
    }

    /// The error of an update, without what differs from run to run.
    pub(crate) fn refusal(&self, old: &Lockfile) -> String {
        self.shown(&self.update(old).unwrap_err())
    }

    pub(crate) fn shown(&self, error: &Error) -> String {
        error
            .to_string()
            .replace(&format!("http://{}/", self.server.host()), "https://")
            .replace(&self.server.host(), "HOST")
            .replace(&self.home.path().display().to_string(), "HOME")
    }

    pub(crate) fn waits(&self) -> Vec<u64> {
        let waits = self.waits.lock().unwrap();
        waits.iter().map(Duration::as_secs).collect()
    }
}

/// A release as GitHub's API describes it.
#[derive(Clone)]
pub(crate) struct Release {
    pub(crate) tag: String,
    pub(crate) published: &'static str,
    pub(crate) prerelease: bool,
    pub(crate) draft: bool,
    /// Whether the API has digests, as for everything since June 2025.
    pub(crate) digests: bool,
    /// When a file of this name was replaced.
    pub(crate) replaced: Option<(&'static str, &'static str)>,
    /// What the upload of a file of this name has come to.
    pub(crate) unfinished: Option<(&'static str, &'static str)>,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Release {
    pub(crate) fn new(tag: &str, files: &[(&str, &[u8])]) -> Self {
        Self {
            tag: tag.to_owned(),
            published: OLD,
            prerelease: false,
            draft: false,
            digests: true,
            replaced: None,
            unfinished: None,
            files: files
                .iter()
                .map(|(n, c)| ((*n).to_owned(), c.to_vec()))
                .collect(),
        }
    }

    /// The address of one of its files.
    pub(crate) fn file(&self, repository: &str, name: &str) -> String {
        let tag = &self.tag;
        format!("https://github.com/{repository}/releases/download/{tag}/{name}")
    }

    fn json(&self, repository: &str) -> Value {
        let api = format!("https://api.github.com/repos/{repository}");
        let author = json!({"login": "maintainer", "id": 1, "type": "User", "site_admin": false});
        let assets: Vec<Value> = self
            .files
            .iter()
            .zip(1000..)
            .map(|((name, content), id)| {
                let of = |named: Option<(&str, &'static str)>| {
                    named
                        .filter(|(file, _)| file == name)
                        .map(|(_, value)| value)
                };
                json!({
                    "url": format!("{api}/releases/assets/{id}"),
                    "id": id,
                    "name": name,
                    "label": "",
                    "uploader": author,
                    "content_type": "application/octet-stream",
                    "state": of(self.unfinished).unwrap_or("uploaded"),
                    "size": content.len(),
                    "digest": self.digests.then(|| format!("sha256:{}", Sha256::of(content))),
                    "download_count": 12345,
                    "created_at": self.published,
                    "updated_at": of(self.replaced).unwrap_or(self.published),
                    "browser_download_url": self.file(repository, name),
                })
            })
            .collect();
        json!({
            "url": format!("{api}/releases/1"),
            "html_url": format!("https://github.com/{repository}/releases/tag/{}", self.tag),
            "id": 1,
            "author": author,
            "tag_name": self.tag,
            "target_commitish": "main",
            "name": self.tag,
            "draft": self.draft,
            "immutable": false,
            "prerelease": self.prerelease,
            "created_at": self.published,
            "published_at": (!self.draft).then_some(self.published),
            "assets": assets,
            "tarball_url": format!("{api}/tarball/{}", self.tag),
            "body": "Changes since the last release",
        })
    }
}

/// The lines of `sha256sum` for files.
pub(crate) fn sums(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = String::new();
    for (name, content) in files {
        writeln!(text, "{}  {name}", Sha256::of(content)).unwrap();
    }
    text.into_bytes()
}
