//! Checks that come before every command that changes anything.

use std::path::Path;

use super::Receipt;
use crate::error::{Error, Kind, Result};
use crate::file_system::dangling;
use crate::paths;
use crate::store;

/// Fails if the directories belong to another user, for example if root runs a command with a user's `HOME`. The user could
/// not change the files that it makes there, and it would start services of root.
pub fn check_owner() -> Result<()> {
    [paths::data_dir()?, paths::config_dir()?]
        .iter()
        .try_for_each(|dir| store::owned(dir))
}

/// Fails if part of the installation is not there, or the data is that of another home.
pub fn check_whole() -> Result<()> {
    let (data, config) = (paths::data_dir()?, paths::config_dir()?);
    [&data, &config]
        .into_iter()
        .try_for_each(|dir| check_links(dir))?;
    let receipt = Receipt::read(&data)?.unwrap_or_default();
    paths::check_together(&config, &data, &receipt.places)
}

/// Fails if `install` would not use the directory that the environment asks for, because the installation that there is
/// has its data in another one.
pub fn check_data_home() -> Result<()> {
    let Some((asked, used)) = paths::ignored_data_home()? else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Usage,
        format!("{} does not name the data of your cluster", paths::XDG_DATA_HOME),
    )
    .expected(used.display())
    .found(asked.display())
    .hint(format!(
        "unset {}; to have the data in {}, move it there: `usernetes uninstall`, `mv {} {}`, and run this again",
        paths::XDG_DATA_HOME,
        asked.display(),
        used.display(),
        asked.display()
    )))
}

/// Fails if a link on the way leads nowhere. A link to a disk that is not mounted would look like a missing directory.
fn check_links(dir: &Path) -> Result<()> {
    let Some(link) = dangling(dir) else {
        return Ok(());
    };
    let target = fs_err::read_link(link)?;
    Err(Error::new(
        Kind::Host,
        format!(
            "{} is a link to a place that does not exist",
            link.display()
        ),
    )
    .detail("wanted for", dir.display())
    .expected("a directory")
    .found(target.display())
    .hint(format!(
        "mount the disk it is on; if it is gone for good, remove the link: `rm {}`",
        link.display()
    )))
}
