//! Backups by the schedule of the configuration, and those that are kept.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::{Created, create};
use crate::cluster::Current;
use crate::error::{Error, Kind, Result};
use crate::files::{contents, private_directory, temporary};
use crate::pki::rfc3339;
use crate::progress::Progress;

const BEGIN: &str = "usernetes-";
const END: &str = ".backup";

/// The backups that were made by the schedule and still exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The directory they are in.
    pub dir: PathBuf,
    /// How many there are.
    pub count: usize,
    /// The time since the last one was made; `None` if there is none.
    pub age: Option<Duration>,
}

impl Kept {
    /// The backups of a cluster; `None` if it has no schedule.
    #[must_use]
    pub fn of(current: &Current) -> Option<Self> {
        let wanted = &current.config.backup;
        if wanted.schedule.is_never() {
            return None;
        }
        let dir = wanted.dir.path(current.layout.data_dir());
        let files = made(&dir).unwrap_or_default();
        let last = files
            .last()
            .and_then(|file| fs::metadata(file).ok()?.modified().ok());
        Some(Self {
            dir,
            count: files.len(),
            // A clock that was set back makes it new.
            age: last.map(|last| SystemTime::now().duration_since(last).unwrap_or_default()),
        })
    }
}

/// Makes a backup, unless the last one is younger than half the interval of the schedule. Once it is complete and was read
/// again, the oldest are removed until as many are left as the configuration says. Files with other names stay.
pub fn scheduled(progress: &Progress) -> Result<Option<Created>> {
    let current = Current::read()?;
    let wanted = &current.config.backup;
    let Some(kept) = Kept::of(&current) else {
        return Err(
            Error::new(Kind::Usage, "the configuration has no schedule for backups")
                .expected("for example `schedule = \"daily\"` in the table `[backup]`")
                .found(current.layout.config_file().display())
                .hint("run `usernetes backup FILE` for a single backup"),
        );
    };
    if let (Some(age), Some(interval)) = (kept.age, wanted.schedule.interval())
        && age < interval / 2
    {
        progress.line(format!(
            "the last backup is {} old, so none is due",
            hours(age)
        ));
        return Ok(None);
    }
    if wanted.dir.is_own() {
        private_directory(&kept.dir)?;
    } else if !kept.dir.is_dir() {
        // It may be a disk that is not mounted, whose place must stay empty.
        return Err(
            Error::new(Kind::Host, format!("{} does not exist", kept.dir.display()))
                .expected("the directory for backups of `config.toml`")
                .hint("mount the disk, or make the directory"),
        );
    }
    let now = rfc3339(SystemTime::now()).replace(':', "");
    let created = create(
        &kept.dir.join(format!("{BEGIN}{now}{END}")),
        false,
        true,
        progress,
    )?;
    prune(&kept.dir, wanted.keep, progress)?;
    Ok(Some(created))
}

/// Makes a backup if the last one is as old as the interval of the schedule. Does nothing if the schedule names no interval.
pub fn scheduled_if_late(progress: &Progress) -> Result<()> {
    let current = Current::read()?;
    let interval = current.config.backup.schedule.interval();
    let age = Kept::of(&current).and_then(|kept| kept.age);
    match (interval, age) {
        (None, _) => Ok(()),
        (Some(interval), Some(age)) if age < interval => Ok(()),
        _ => scheduled(progress).map(drop),
    }
}

/// Removes the oldest until so many are left, and what an interrupted backup has left.
fn prune(dir: &Path, keep: u32, progress: &Progress) -> Result<()> {
    let files = made(dir)?;
    let surplus = files.len().saturating_sub(keep as usize);
    for file in &files[..surplus] {
        fs::remove_file(file)?;
        progress.line(format!("removed {}", file.display()));
    }
    for file in contents(dir)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let of = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(".new"));
        if of.is_some_and(|of| is_ours(of) && file == temporary(&dir.join(of))) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// The backups that the schedule has made, the oldest first.
fn made(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = contents(dir)?;
    files.retain(|file| {
        let name = file.file_name().and_then(|name| name.to_str());
        name.is_some_and(is_ours) && file.is_file()
    });
    // The names begin with the time.
    files.sort();
    Ok(files)
}

/// Whether it is a name such as `usernetes-2026-11-27T030000Z.backup`.
fn is_ours(name: &str) -> bool {
    let time = name
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
    time.is_some_and(|time| time.chars().map(digit).eq("0000-00-00T000000Z".chars()))
}

/// A time for people.
pub(crate) fn hours(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_ours_go_and_all_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let name = |day: u32| format!("usernetes-2026-11-{day:02}T030000Z.backup");
        let others = [
            "usernetes-mine.backup",
            "usernetes-2026-11-01T030000Z.backup.old",
        ];
        for name in (1..=5).map(name).chain(others.map(str::to_owned)) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let half = temporary(&dir.path().join(name(6)));
        fs::write(&half, "").unwrap();
        prune(dir.path(), 2, &Progress::silent()).unwrap();
        let mut left: Vec<_> = contents(dir.path())
            .unwrap()
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        left.sort();
        let mut expected = vec![name(4), name(5)];
        expected.extend(others.map(str::to_owned));
        expected.sort();
        assert_eq!(left, expected);
        prune(dir.path(), 7, &Progress::silent()).unwrap();
        assert_eq!(made(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn times_are_short() {
        let shown = [59, 3600, 7200, 90_000, 172_800].map(|s| hours(Duration::from_secs(s)));
        assert_eq!(shown, ["0 min", "60 min", "2 h", "25 h", "2 days"]);
    }
}
