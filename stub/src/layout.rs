//! Where everything of an installed cluster lies.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::paths;

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
        self.config.join("config.toml")
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

/// `:` separates the directories of `PATH` and of overlay mounts, `,` separates mount options.
fn check(path: &Path) -> Result<()> {
    let good = path.is_absolute()
        && path
            .to_str()
            .is_some_and(|text| !text.contains([':', ',']) && !text.contains(char::is_control));
    if good {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        format!(
            "{}: the cluster cannot live below this path",
            path.display()
        ),
    )
    .expected("an absolute UTF-8 path without `:`, `,` and control characters")
    .found(format!("`{}`", path.display().to_string().escape_debug()))
    .hint(format!(
        "choose other directories by setting {} and {}",
        paths::XDG_CONFIG_HOME,
        paths::XDG_DATA_HOME
    )))
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

    #[test]
    fn a_home_that_breaks_mounts_is_refused() {
        let error = Layout::new(
            "/home/a:b/.config/usernetes".into(),
            "/d".into(),
            "/r".into(),
            "/g".into(),
        )
        .unwrap_err();
        insta::assert_snapshot!(error, @r"
        /home/a:b/.config/usernetes: the cluster cannot live below this path
          expected  an absolute UTF-8 path without `:`, `,` and control characters
          found     `/home/a:b/.config/usernetes`

        hint: choose other directories by setting XDG_CONFIG_HOME and XDG_DATA_HOME
        ");
    }
}
