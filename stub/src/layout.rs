//! Where everything of an installed cluster lies.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::paths;

/// Name of the configuration file in the directory of configuration.
pub const CONFIG_FILE: &str = "config.toml";

/// Directory of the control plane's files, below the configuration directory.
pub const MASTER: &str = "master";
/// Directory of a worker's files, below the configuration directory.
pub const NODE: &str = "node";

/// The directories of one user's cluster and the generation that runs it. All are absolute UTF-8 paths which unit
/// files, mount options and `PATH` can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    config: PathBuf,
    data: PathBuf,
    runtime: PathBuf,
    generation: PathBuf,
}

impl Layout {
    /// The current user's directories, by the environment. `generation` is the generation's own directory, not the
    /// link `current`: what is made of it goes on naming the same files when another generation is activated.
    pub fn of_user(generation: PathBuf) -> Result<Self> {
        Self::new(
            paths::config_dir()?,
            paths::data_dir()?,
            paths::runtime_dir()?,
            generation,
        )
    }

    /// A layout of these directories.
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

    /// `~/.local/share/usernetes` or something in it. Survives a reboot.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// `$XDG_RUNTIME_DIR/usernetes` or something in it: sockets and the configuration that `boot` writes. Gone after a reboot.
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

    /// State directory of RootlessKit: `api.sock`, `child_pid`.
    #[must_use]
    pub fn rootlesskit(&self) -> PathBuf {
        self.runtime("rootlesskit")
    }

    /// `$XDG_CONFIG_HOME`, `$XDG_DATA_HOME` for whoever must find the same layout with another environment.
    #[must_use]
    pub fn xdg_bases(&self) -> [(&'static str, &Path); 2] {
        [
            (paths::XDG_CONFIG_HOME, parent(&self.config)),
            (paths::XDG_DATA_HOME, parent(&self.data)),
        ]
    }
}

/// The directory a path lies in.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Fails for a path that would make another path, or another mount, of what it is written into.
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

/// What a path of the cluster must be.
pub(crate) const GOOD_PATH: &str =
    r"an absolute UTF-8 path without `:`, `;`, `,`, `\` and control characters";

/// What to do about a path that is not so.
pub(crate) const OTHER_PATHS: &str = "choose other directories by setting XDG_CONFIG_HOME and XDG_DATA_HOME, for this command and for your service manager (in a file below ~/.config/environment.d, then log in again)";

/// What keeps a new cluster from living below a path, if anything does. Everything else is quoted wherever it is written. A
/// [`Layout`] may still have such a path, so that what an earlier release put there can be removed.
pub(crate) fn fault(path: &Path) -> Option<String> {
    fault_by(path, r":;,\")
}

/// What keeps sockets from lying below a path: they are named in URLs, too.
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
        '\\' => "hides the next character from a mount",
        '%' | '?' | '#' => "means something else in the URL of a socket",
        _ => "a unit file cannot hold",
    };
    Some(format!(
        "the character `{}`, which {why}",
        bad.escape_debug()
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the snapshots are made with.
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
            error.contains(r"the character `\n`, which a unit file cannot hold"),
            "{error}"
        );
        assert!(refused("home/a").to_string().contains("a relative path"));
    }

    #[test]
    fn faults() {
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
                r"the character `\\`, which hides the next character from a mount",
            ),
        ] {
            assert_eq!(fault(Path::new(path)).unwrap(), found);
        }
        let found = socket_fault(Path::new("/tmp/run#1")).unwrap();
        assert_eq!(
            found,
            "the character `#`, which means something else in the URL of a socket"
        );
        assert_eq!(socket_fault(Path::new("/run/user/1001")), None);
    }

    /// Or what an earlier release installed there could not even be removed.
    #[test]
    fn some_faults_keep_nothing_from_being_found() {
        let home =
            |config: &str| Layout::new(config.into(), "/d".into(), "/r%".into(), "/g".into());
        assert!(home(r"/home/CORP\jdoe;/.config/usernetes").is_ok());
    }

    #[test]
    fn what_is_quoted_everywhere_is_no_fault() {
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
