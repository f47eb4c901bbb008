//! Fetching from servers that do as they should, and from those that do not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod downloads;
mod images;
mod mirrors;
mod offline;
mod proxies;
mod resume;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use builder::cache::Cache;
use builder::fetch::{Options, Summary, fetch};
use builder::http::{Client, Settings};
use builder::lockfile::Lockfile;
use serde_json::{Value, json};
use stub::bundle::Arch;
use stub::digest::Digest;
use stub::digest::Sha256;
use stub::error::{Error, Result};
use stub::progress::Progress;

use support::server::Server;

/// The version in every lockfile here, which therefore occurs in every URL.
const VERSION: &str = "1.2.3";

/// A server, a cache, and a client that notes how long it would have waited.
struct Lab {
    server: Server,
    home: tempfile::TempDir,
    cache: Cache,
    client: Client,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl Lab {
    fn new() -> Self {
        Self::with_patience(Duration::from_secs(20))
    }

    fn with_patience(stall: Duration) -> Self {
        let home = tempfile::tempdir().unwrap();
        let waits = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waits);
        Self {
            server: Server::start(),
            cache: Cache::open(home.path().join("cache")).unwrap(),
            home,
            client: Client::with(Settings {
                connect: Duration::from_secs(20),
                stall,
                proxies: false,
                sleep: Box::new(move |wait| noted.lock().unwrap().push(wait)),
            }),
            waits,
        }
    }

    fn fetch(&self, lockfile: &Lockfile) -> Result<Summary> {
        self.fetch_with(lockfile, |_| {})
    }

    fn fetch_with<'a>(
        &'a self,
        lockfile: &Lockfile,
        change: impl FnOnce(&mut Options<'a>),
    ) -> Result<Summary> {
        let mut options = Options {
            mirror: None,
            offline: false,
            debian_base: &|| panic!("the Debian archive was asked for"),
            client: &self.client,
        };
        change(&mut options);
        let progress = Progress::silent();
        fetch(
            lockfile,
            Arch::X86_64,
            &[],
            &self.cache,
            &options,
            &progress,
        )
    }

    fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }

    /// An error's text without the port of this run.
    fn shown(&self, error: &Error) -> String {
        let home = self.home.path().display().to_string();
        error
            .to_string()
            .replace(&self.server.host(), "HOST")
            .replace(&home, "HOME")
    }

    /// Files in the cache that are not finished.
    fn unfinished(&self) -> Vec<PathBuf> {
        fs_err::read_dir(self.cache.root().join("partial")).map_or_else(
            |_| Vec::new(),
            |entries| entries.map(|e| e.unwrap().path()).collect(),
        )
    }
}

fn digest_of(content: &[u8]) -> Digest {
    Sha256::of(content).into()
}

/// A pinned download.
fn artifact(format: &str, urls: &[String], content: &[u8]) -> Value {
    let taken = match format {
        "plain" => json!({"to": "bin/a"}),
        "oci-image" => json!({"to": "images/a"}),
        _ => json!({"from": "a", "to": "bin/a"}),
    };
    json!({
        "digest": digest_of(content),
        "files": [taken],
        "format": format,
        "size": content.len(),
        "urls": urls,
    })
}

/// A pinned download of one file.
fn plain(urls: &[String], content: &[u8]) -> Value {
    artifact("plain", urls, content)
}

/// A lockfile with these downloads, of a component each: `tool-0 1.2.3` and so on.
fn lockfile(artifacts: impl IntoIterator<Item = Value>) -> Lockfile {
    let mut components = serde_json::Map::new();
    for (number, mut artifact) in artifacts.into_iter().enumerate() {
        let to = artifact["files"][0]["to"].as_str().unwrap();
        artifact["files"][0]["to"] = json!(format!("{to}{number}"));
        let component = json!({
            "artifacts": {"x86_64": [artifact]},
            "family": "tools",
            "homepage": "https://example.org",
            "license": "Apache-2.0",
            "version": VERSION,
        });
        components.insert(format!("tool-{number}"), component);
    }
    Lockfile::parse(&json!({"components": components, "schema": 1}).to_string()).unwrap()
}
