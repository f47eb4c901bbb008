//! Where an installation was when it was made, remembered in both of its directories: in that of the configuration, so
//! that the data is found without `XDG_DATA_HOME`, and in that of the data (the receipt), so that
//! it is not taken for that of a copy.
//!
//! What lies in the home is remembered by its path from there: it survives a home that is moved, copied or renamed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::file_system::{read_if_there, resolved, same};
use crate::paths;

/// Its name in the configuration directory.
pub(crate) const NAME: &str = "places.json";

/// The directories of an installation. Empty where that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Places {
    /// The user's home, absolute.
    pub home: PathBuf,
    /// The directory of the configuration, from the home if it lies in there.
    pub config: PathBuf,
    /// The directory of the data, from the home if it lies in there.
    pub data: PathBuf,
}

impl Places {
    /// The places of an installation with these directories.
    #[must_use]
    pub fn of(config_dir: &Path, data_dir: &Path) -> Self {
        let home = paths::home_dir().unwrap_or_default();
        Self {
            config: from_home(config_dir, &home),
            // Without a slash at its end.
            data: from_home(&data_dir.components().collect::<PathBuf>(), &home),
            home,
        }
    }

    /// Those remembered in a configuration directory; `None` if there are none.
    pub fn read(config_dir: &Path) -> Result<Option<Self>> {
        let path = config_dir.join(NAME);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Error::new(Kind::Input, format!("{}: {e}", path.display()))
                .expected("the directories of the installation, as `install` wrote them")
                .hint(format!(
                    "remove {}, set {} if the data is not in its usual place, and run `install` again",
                    path.display(),
                    paths::XDG_DATA_HOME
                ))
        })
    }

    /// The directory of the configuration as it was when this was written.
    #[must_use]
    pub fn old_config(&self) -> PathBuf {
        self.home.join(&self.config)
    }

    /// The directory of the data as it was when this was written.
    #[must_use]
    pub fn old_data(&self) -> PathBuf {
        self.home.join(&self.data)
    }

    /// The data that belongs to a configuration directory in which this is remembered.
    #[must_use]
    pub fn data_of(&self, config_dir: &Path) -> PathBuf {
        self.base(same(&self.old_config(), config_dir))
            .join(&self.data)
    }

    /// The configuration that belongs to a data directory in which this is remembered.
    #[must_use]
    pub fn config_of(&self, data_dir: &Path) -> PathBuf {
        self.base(same(&self.old_data(), data_dir))
            .join(&self.config)
    }

    /// The home that paths begin at: the remembered one for what is still there, the present one for what was moved or
    /// copied.
    fn base(&self, in_place: bool) -> PathBuf {
        let present = paths::home_dir().filter(|_| !in_place);
        present.unwrap_or_else(|| self.home.clone())
    }
}

/// A path from the home if it lies in there, whatever links either is written with.
pub(crate) fn from_home(path: &Path, home: &Path) -> PathBuf {
    let below = |path: &Path, home: &Path| path.strip_prefix(home).ok().map(Path::to_owned);
    if home.as_os_str().is_empty() {
        return path.to_owned();
    }
    below(path, home)
        .or_else(|| below(&resolved(path), &resolved(home)))
        .unwrap_or_else(|| path.to_owned())
}

/// Fails if the data belongs to the configuration of another installation that is still there: a home was copied together
/// with a link to its data, and who changed that would change the original's.
pub(crate) fn check_together(
    config: &Path,
    data: &Path,
    remembered_in_data: &Places,
) -> Result<()> {
    if remembered_in_data.data.as_os_str().is_empty() {
        return Ok(());
    }
    let other = remembered_in_data.config_of(data);
    let is_its_own = |other: &Path| match Places::read(other) {
        Ok(Some(places)) => same(&places.data_of(other), data),
        _ => other.is_dir(),
    };
    if same(&other, config) || !is_its_own(&other) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        format!("{} is the data of another installation", data.display()),
    )
    .expected(format!("the data of {}", config.display()))
    .found(format!("the data of {}", other.display()))
    .hint(format!(
        "this home is a copy that shares its data with the original: remove the link, or set {} to another directory; to work on the original, run this in its home",
        paths::XDG_DATA_HOME
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_home_is_remembered_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs_err::canonicalize(dir.path()).unwrap();
        fs_err::create_dir(real.join("home")).unwrap();
        fs_err::os::unix::fs::symlink("home", real.join("link")).unwrap();
        let (home, link) = (real.join("home"), real.join("link"));
        for (path, home, expected) in [
            (home.join(".config/u"), &home, ".config/u".into()),
            // Either may be written with a link.
            (home.join(".config/u"), &link, ".config/u".into()),
            (link.join(".config/u"), &home, ".config/u".into()),
            (real.join("disk/u"), &home, real.join("disk/u")),
            (home.join("x"), &PathBuf::new(), home.join("x")),
        ] {
            assert_eq!(from_home(&path, home), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Places::read(dir.path()).unwrap(), None);
        fs_err::write(dir.path().join(NAME), "{").unwrap();
        let error = Places::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("places.json: EOF"), "{error}");
        assert!(error.contains("hint: remove "), "{error}");
        fs_err::write(dir.path().join(NAME), r#"{"home": "/h", "later": 1}"#).unwrap();
        let read = Places::read(dir.path()).unwrap().unwrap();
        assert_eq!(read.home, Path::new("/h"));
    }
}
