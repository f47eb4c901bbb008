//! What the services write: to stderr with their names in front, and to files with the time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;

use crate::error::Result;
use crate::files::make_directories;
use crate::manager::logs;
use crate::pki::rfc3339;
use crate::progress::Progress;
use crate::services::Service;

/// Where lines go.
#[derive(Debug, Clone)]
pub(super) struct Output {
    data: PathBuf,
    /// `None` if they go to the files only.
    shown: Option<Progress>,
    files: Arc<Mutex<BTreeMap<&'static str, LogFile>>>,
}

impl Output {
    pub(super) fn new(data: PathBuf, shown: Option<Progress>) -> Result<Self> {
        if let Some(directory) = logs::file(&data, logs::OWN).parent() {
            make_directories(directory)?;
        }
        Ok(Self {
            data,
            shown,
            files: Arc::default(),
        })
    }

    /// Passes on what a service writes, until everybody who could write has ended.
    pub(super) fn follow(&self, service: Service, pipe: PipeReader) {
        let output = self.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line);
                output.line(service.as_str(), text.trim_end_matches(['\n', '\r']));
                line.clear();
            }
        });
    }

    /// A line of the run itself. It is shown in any case.
    pub(super) fn own(&self, progress: &Progress, text: &str) {
        self.write(logs::OWN, text);
        progress.line(text);
    }

    fn line(&self, name: &'static str, text: &str) {
        self.write(name, text);
        if let Some(progress) = &self.shown {
            progress.line(format!("{name}: {text}"));
        }
    }

    /// A line that cannot be written, as on a full disk, is lost: the services must go on.
    fn write(&self, name: &'static str, text: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files
            .entry(name)
            .or_insert_with(|| LogFile::at(logs::file(&self.data, name)));
        let _ = file.write(&format!("{} {text}\n", now()), logs::LIMIT);
    }
}

/// RFC 3339 in UTC, with milliseconds.
fn now() -> String {
    let now = SystemTime::now();
    let millis = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_millis();
    format!("{}.{millis:03}Z", rfc3339(now).trim_end_matches('Z'))
}

/// A file that is put aside when it is large enough.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    open: Option<(fs::File, u64)>,
}

impl LogFile {
    fn at(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn write(&mut self, line: &str, limit: u64) -> std::io::Result<()> {
        let length = line.len() as u64;
        if self
            .open
            .as_ref()
            .is_some_and(|(_, size)| size + length > limit)
        {
            self.open = None;
            fs::rename(&self.path, logs::earlier(&self.path))?;
        }
        if self.open.is_none() {
            let file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            file.write_all(line.as_bytes())?;
            *size += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_put_aside_before_it_is_larger_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = logs::file(dir.path(), "etcd");
        make_directories(path.parent().unwrap()).unwrap();
        fs::write(&path, "from before\n").unwrap();
        let mut file = LogFile::at(path.clone());
        for n in 0..5 {
            file.write(&format!("line {n}\n"), 20).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 3\nline 4\n");
        let earlier = logs::earlier(&path);
        assert_eq!(fs::read_to_string(earlier).unwrap(), "line 1\nline 2\n");
    }

    #[test]
    fn lines_go_to_the_file_of_their_service_whatever_bytes_they_have() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned(), None).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        output.follow(Service::Etcd, reader);
        writer.write_all(b"one\r\n\xff two\nno end").unwrap();
        drop(writer);
        let lines = || logs::last(dir.path(), "u7s-etcd.service", 9);
        while lines().len() < 3 {
            thread::yield_now();
        }
        assert_eq!(lines(), ["one", "\u{fffd} two", "no end"]);
    }
}
