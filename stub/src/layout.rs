//! The directories and files of an installed cluster.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::paths;

/// The name of the configuration file in the configuration directory.
pub const CONFIG_FILE: &str = "config.toml";

/// The directory of the control plane's files, in the configuration directory.
pub const MASTER: &str = "master";
/// The directory of a worker's files, in the configuration directory.
pub const NODE: &str = "node";

/// The directories of one user's cluster, and of the generation that runs it. All are absolute UTF-8 paths that can be
/// written into unit files, mount options and `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    config: PathBuf,
    data: PathBuf,
    runtime: PathBuf,
    generation: PathBuf,
}

impl Layout {
    /// The current user's directories, according to environment variables. `generation` must be the generation's own
    /// directory, not the link `current`. So paths made from it stay the same when another generation is activated.
    pub fn of_user(generation: PathBuf) -> Result<Self> {
        Self::new(
            paths::config_dir()?,
            paths::data_dir()?,
            paths::runtime_dir()?,
            generation,
        )
    }

    /// A layout with these directories.
    pub fn new(
        config: PathBuf,
        data: PathBuf,
        runtime: PathBuf,
        generation: PathBuf,
    ) -> Result<Self> {
        for path in [&config, &data, &runtime, &generation] {
            check(path)?;
        }
        Ok(Self {
            config,
            data,
            runtime,
            generation,
        })
    }

    /// `~/.config/usernetes`.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// `~/.config/usernetes/config.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join(CONFIG_FILE)
    }

    /// A file of the control plane: a key, a certificate or a kubeconfig.
    #[must_use]
    pub fn master(&self, name: &str) -> PathBuf {
        self.config.join("master").join(name)
    }

    /// A file of the node: a key, a certificate or a kubeconfig.
    #[must_use]
    pub fn node(&self, name: &str) -> PathBuf {
        self.config.join("node").join(name)
    }

    /// A path in `~/.local/share/usernetes`, or that directory if `name` is empty. It survives a reboot.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// A path in `$XDG_RUNTIME_DIR/usernetes`, or that directory if `name` is empty. It contains sockets and the configuration
    /// files that `boot` writes, and is gone after a reboot.
    #[must_use]
    pub fn runtime(&self, name: &str) -> PathBuf {
        self.runtime.join(name)
    }

    /// The generation's directory.
    #[must_use]
    pub fn generation(&self) -> &Path {
        &self.generation
    }

    /// A program of the generation.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.generation.join("bin").join(name)
    }

    /// The directory of the generation's CNI plugins.
    #[must_use]
    pub fn cni_plugins(&self) -> PathBuf {
        self.generation.join("libexec/cni")
    }

    /// The state directory of RootlessKit, with `api.sock` and `child_pid`.
    #[must_use]
    pub fn rootlesskit(&self) -> PathBuf {
        self.runtime("rootlesskit")
    }

    /// The values of `$XDG_CONFIG_HOME` and `$XDG_DATA_HOME` with which another process finds the same layout.
    #[must_use]
    pub fn xdg_bases(&self) -> [(&'static str, &Path); 2] {
        [
            (paths::XDG_CONFIG_HOME, parent(&self.config)),
            (paths::XDG_DATA_HOME, parent(&self.data)),
        ]
    }
}

/// The directory that contains a path.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Fails for a path that would be misread as several paths or as several mount options.
fn check(path: &Path) -> Result<()> {
    let Some(fault) = fault_by(path, ":,") else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Host,
        format!(
            "{}: the cluster cannot live below this path",
            path.display()
                .to_string()
                .replace(char::is_control, "\u{fffd}")
        ),
    )
    .expected(GOOD_PATH)
    .found(fault)
    .hint(OTHER_PATHS))
}

/// The description of a valid path, for error messages.
pub(crate) const GOOD_PATH: &str =
    r"an absolute UTF-8 path without `:`, `;`, `,`, `\` and control characters";

/// The hint for a path that is not valid.
pub(crate) const OTHER_PATHS: &str = "choose other directories by setting XDG_CONFIG_HOME and XDG_DATA_HOME, for this command and for your service manager (in a file below ~/.config/environment.d, then log in again)";

/// The reason why a new cluster cannot live below a path; `None` if it can. Other special characters are quoted wherever the
/// path is written. A [`Layout`] accepts some of the paths refused here, so that an installation of an earlier release can
/// be removed.
pub(crate) fn fault(path: &Path) -> Option<String> {
    fault_by(path, r":;,\")
}

/// The reason why sockets cannot be below a path; `None` if they can. Fewer characters are allowed, because sockets are named
/// in URLs, too.
pub(crate) fn socket_fault(path: &Path) -> Option<String> {
    fault_by(path, r":;,\%?#")
}

fn fault_by(path: &Path, characters: &str) -> Option<String> {
    let Some(text) = path.to_str() else {
        return Some("bytes that are not UTF-8".to_owned());
    };
    if !path.is_absolute() {
        return Some("a relative path".to_owned());
    }
    let bad = text
        .chars()
        .find(|c| c.is_control() || characters.contains(*c))?;
    let why = match bad {
        ':' => "separates the directories of `PATH`",
        ';' => "separates the directories of `LD_LIBRARY_PATH`",
        ',' => "separates the options of a mount",
        '\\' => "escapes the next character in the options of a mount",
        '%' | '?' | '#' => "has a special meaning in the URL of a socket",
        _ => "a unit file cannot contain",
    };
    Some(format!(
        "the character `{}`, which {why}",
        bad.escape_debug()
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The layout for snapshots.
    pub(crate) fn example() -> Layout {
        Layout::new(
            "/home/u/.config/usernetes".into(),
            "/home/u/.local/share/usernetes".into(),
            "/run/user/1001/usernetes".into(),
            "/home/u/.local/share/usernetes/generations/1".into(),
        )
        .unwrap()
    }

    fn refused(config: &str) -> Error {
        Layout::new(config.into(), "/d".into(), "/r".into(), "/g".into()).unwrap_err()
    }

    #[test]
    fn a_home_that_breaks_mounts_is_refused() {
        insta::assert_snapshot!(refused("/home/a:b/.config/usernetes"), @r"
        /home/a:b/.config/usernetes: the cluster cannot live below this path
          expected  an absolute UTF-8 path without `:`, `;`, `,`, `\` and control characters
          found     the character `:`, which separates the directories of `PATH`

        hint: choose other directories by setting XDG_CONFIG_HOME and XDG_DATA_HOME, for this command and for your service manager (in a file below ~/.config/environment.d, then log in again)
        ");
        let error = refused("/a\nb").to_string();
        assert!(
            error.contains(r"the character `\n`, which a unit file cannot contain"),
            "{error}"
        );
        assert!(refused("home/a").to_string().contains("a relative path"));
    }

    #[test]
    fn faults_are_explained() {
        for (path, found) in [
            (
                "/a;b",
                "the character `;`, which separates the directories of `LD_LIBRARY_PATH`",
            ),
            (
                "/a,b",
                "the character `,`, which separates the options of a mount",
            ),
            (
                r"/CORP\b",
                r"the character `\\`, which escapes the next character in the options of a mount",
            ),
        ] {
            assert_eq!(fault(Path::new(path)).unwrap(), found);
        }
        let found = socket_fault(Path::new("/tmp/run#1")).unwrap();
        assert_eq!(
            found,
            "the character `#`, which has a special meaning in the URL of a socket"
        );
        assert_eq!(socket_fault(Path::new("/run/user/1001")), None);
    }

    /// Otherwise an installation of an earlier release below such a path could not be removed.
    #[test]
    fn a_layout_accepts_some_paths_that_are_refused_for_a_new_cluster() {
        let home =
            |config: &str| Layout::new(config.into(), "/d".into(), "/r%".into(), "/g".into());
        assert!(home(r"/home/CORP\jdoe;/.config/usernetes").is_ok());
    }

    #[test]
    fn characters_that_are_quoted_everywhere_are_allowed() {
        for path in [
            "/home/o'brien",
            "/home/a \"b\"",
            "/home/50%$&#*?[x]{y}=~",
            "/home/ü",
        ] {
            assert_eq!(fault(Path::new(path)), None, "{path}");
        }
    }
}
