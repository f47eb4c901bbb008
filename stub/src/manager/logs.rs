//! What services write where there is no journal: a file for each, and one before it that is complete. Each line begins
//! with the time it was read, in RFC 3339 and UTC, so that the files can be merged.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fs_err::File;

use super::Since;
use crate::error::Result;
use crate::output;
use crate::pki::rfc3339;
use crate::services::{Service, UnitName};

/// Bytes after which a file is complete. Each service has at most two of them.
pub const LIMIT: u64 = 8 << 20;

/// The name that `usernetes run` itself writes under.
pub const OWN: &str = "run";

const DIRECTORY: &str = "log";
const INTERVAL: Duration = Duration::from_millis(500);

/// The file a service, or the run itself, writes to.
#[must_use]
pub fn file(data: &Path, name: &str) -> PathBuf {
    data.join(DIRECTORY).join(format!("{name}.log"))
}

/// The file before it.
#[must_use]
pub fn earlier(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

/// Whether anything was ever written for this data directory.
#[must_use]
pub fn exist(data: &Path) -> bool {
    data.join(DIRECTORY).is_dir()
}

/// The last lines of a unit, without times; empty if they cannot be read.
#[must_use]
pub fn last(data: &Path, unit: &str, lines: u32) -> Vec<String> {
    let names = names(&[unit]).into_iter();
    let all = names.flat_map(|name| tail(data, name, lines));
    let text = |line: String| {
        line.split_once(' ')
            .map_or(String::new(), |(_, text)| text.to_owned())
    };
    all.map(text).collect()
}

/// The last lines that a service has written, with times; none if they cannot be read.
#[must_use]
pub fn tail(data: &Path, name: &str, lines: u32) -> VecDeque<String> {
    let mut all = VecDeque::new();
    for line in stored(data, name) {
        if all.len() == lines as usize {
            all.pop_front();
        }
        all.push_back(line);
    }
    all
}

/// The lines that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of these units; if there are none, of all units and of the run itself.
    pub units: Vec<UnitName>,
    /// Not more than this number, the last ones.
    pub lines: Option<u32>,
    /// None that is older.
    pub since: Option<Since>,
    /// New ones, too, until the process is ended.
    pub follow: bool,
}

/// Prints lines to stdout, those of several units merged by their times.
pub fn print(data: &Path, wanted: &Wanted) -> Result<()> {
    let names = match wanted.units.as_slice() {
        [] => all_names(),
        units => names(units),
    };
    let mut tails: Vec<_> = names.iter().map(|name| Tail::at_end(data, name)).collect();
    let mut all: Vec<String> = Vec::new();
    for name in &names {
        all.extend(stored(data, name).map(|line| marked(&line, name)));
    }
    if let Some(since) = wanted.since {
        // Such texts sort like the times they describe.
        let since = rfc3339(since.time());
        let since = since.trim_end_matches('Z');
        all.retain(|line| time(line) >= since);
    }
    // Those of the same moment stay in their order.
    all.sort_by(|a, b| time(a).cmp(time(b)));
    let skipped = wanted
        .lines
        .map_or(0, |lines| all.len().saturating_sub(lines as usize));
    for line in &all[skipped..] {
        output::data(&format!("{line}\n"))?;
    }
    if !wanted.follow {
        return Ok(());
    }
    loop {
        thread::sleep(INTERVAL);
        for tail in &mut tails {
            for line in tail.new_lines() {
                output::data(&format!("{}\n", marked(&line, tail.name)))?;
            }
        }
    }
}

/// The names that these units write under. Targets, and units that only systemd has, write nothing here.
fn names(units: &[impl AsRef<str>]) -> Vec<&'static str> {
    let services = units.iter().filter_map(|u| Service::of_unit(u.as_ref()));
    services.map(Service::as_str).collect()
}

fn all_names() -> Vec<&'static str> {
    Service::all().map(Service::as_str).chain([OWN]).collect()
}

fn time(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// A line with the name of its service after its time.
fn marked(line: &str, name: &str) -> String {
    let (time, text) = line.split_once(' ').unwrap_or((line, ""));
    format!("{time} {name}: {text}")
}

/// Both files of a service, the older lines first.
fn stored(data: &Path, name: &str) -> impl Iterator<Item = String> {
    let file = file(data, name);
    let files = [earlier(&file), file]
        .into_iter()
        .filter_map(|path| File::open(path).ok());
    files.flat_map(|file| {
        BufReader::new(file)
            .split(b'\n')
            .map_while(std::io::Result::ok)
            .map(text)
    })
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

/// A file that is read as it grows, and then the one that takes its place.
struct Tail {
    name: &'static str,
    path: PathBuf,
    open: Option<File>,
    begun: Vec<u8>,
}

impl Tail {
    fn at_end(data: &Path, name: &'static str) -> Self {
        let path = file(data, name);
        let mut open = File::open(&path).ok();
        if let Some(file) = &mut open {
            // From the beginning if that fails.
            let _ = file.seek(SeekFrom::End(0));
        }
        Self {
            name,
            path,
            open,
            begun: Vec::new(),
        }
    }

    /// The whole lines that were added.
    fn new_lines(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.begun);
        if let Some(file) = &mut self.open {
            let _ = file.read_to_end(&mut bytes);
        }
        if self.is_replaced() {
            self.open = File::open(&self.path).ok();
            if let Some(file) = &mut self.open {
                let _ = file.read_to_end(&mut bytes);
            }
        }
        let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        self.begun = lines.pop().unwrap_or_default();
        lines.into_iter().map(text).collect()
    }

    fn is_replaced(&self) -> bool {
        let inode = |m: std::io::Result<std::fs::Metadata>| m.ok().map(|m| (m.dev(), m.ino()));
        let now = inode(fs_err::metadata(&self.path));
        let open = self.open.as_ref().and_then(|file| inode(file.metadata()));
        now.is_some() && now != open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn both_files_count_and_a_new_one_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "etcd");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(earlier(&path), "1Z one\n2Z two\n").unwrap();
        fs::write(&path, "3Z three\n").unwrap();
        assert_eq!(last(dir.path(), "u7s-etcd.service", 2), ["two", "three"]);
        assert_eq!(last(dir.path(), "u7s-etcd.target", 2), [""; 0]);
        let mut tail = Tail::at_end(dir.path(), "etcd");
        assert_eq!(tail.new_lines(), [""; 0]);
        let add = |text: &str| {
            let mut old = fs::read_to_string(&path).unwrap();
            old.push_str(text);
            let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, old.as_bytes()).unwrap();
        };
        add("4Z 4");
        assert_eq!(tail.new_lines(), [""; 0]);
        add("4\n");
        fs::rename(&path, earlier(&path)).unwrap();
        fs::write(&path, "5Z five\n").unwrap();
        assert_eq!(tail.new_lines(), ["4Z 44", "5Z five"]);
    }
}
