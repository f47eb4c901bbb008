//! Surroundings in which every setting that could change a build has another value.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stub::error::Result;

use super::run::copy_tree;
use builder::closed;

/// Variables that would change the output of cargo, rustc or gcc if they were obeyed.
const VARIABLES: [(&str, &str); 16] = [
    ("AR", "/nonexistent/ar"),
    ("CARGO_BUILD_RUSTFLAGS", "-Copt-level=0"),
    ("CARGO_PROFILE_STUB_LTO", "false"),
    ("CC", "/nonexistent/cc"),
    ("CFLAGS", "-O0"),
    ("CPATH", "/nonexistent/include"),
    ("CRATE_CC_NO_DEFAULTS", "1"),
    ("GCC_EXEC_PREFIX", "/nonexistent/gcc/"),
    ("HOST_CFLAGS", "-fno-inline"),
    ("LANG", "tr_TR.UTF-8"),
    ("RUSTC_WRAPPER", "/nonexistent/wrapper"),
    ("RUSTFLAGS", "-Coverflow-checks=on"),
    ("SOURCE_DATE_EPOCH", "1"),
    ("TARGET_CFLAGS", "-fno-inline"),
    ("TZ", "Asia/Kathmandu"),
    ("ZSTD_SYS_USE_PKG_CONFIG", "1"),
];

/// The same for a configuration file of cargo: one is in cargo's home, the other above the checkout.
const IN_HOME: &str = r#"
[build]
rustc-wrapper = "/nonexistent/wrapper"
rustflags = ["-Coverflow-checks=on"]

[env]
HOST_CFLAGS = { value = "-fno-inline", force = true }

[profile.release]
overflow-checks = true

[profile.stub.package."*"]
opt-level = 1
"#;
const ABOVE: &str = r#"
[build]
rustc = "/nonexistent/rustc"

[env]
CFLAGS = "-O0"

[profile.stub]
lto = false

[target.'cfg(all())']
linker = "/nonexistent/linker"
rustflags = ["-Cdebug-assertions=on"]
"#;

/// Programs that a wrapper may stand in front of. These ones only fail.
const PROGRAMS: [&str; 8] = ["ar", "as", "cc", "clang", "gcc", "git", "ld", "pkg-config"];

/// The directories with these surroundings.
pub(super) struct Hostile {
    cargo_home: PathBuf,
    programs: PathBuf,
}

impl Hostile {
    /// Sets it up in a new directory, which is to have the checkout below it. Cargo's home is as on a new machine: it
    /// has the user's downloads, so that none is needed, and nothing else.
    pub(super) fn around(directory: &Path) -> Result<Self> {
        let users = closed::home_of_user()?;
        let cargo_home = directory.join("cargo home");
        for part in ["registry/cache", "registry/index"] {
            let part = Path::new(part);
            if users.join(part).is_dir() {
                copy_tree(&users.join(part), &cargo_home.join(part), &[])?;
            }
        }
        // Where the user's crates come from still holds.
        let included = users.join("config.toml");
        let included = toml::Value::from(included.to_string_lossy().into_owned());
        let include = format!("include = [{{ path = {included}, optional = true }}]\n");
        fs_err::create_dir_all(&cargo_home)?;
        fs_err::write(cargo_home.join("config.toml"), include + IN_HOME)?;
        fs_err::create_dir_all(directory.join(".cargo"))?;
        fs_err::write(directory.join(".cargo/config.toml"), ABOVE)?;
        let programs = directory.join("programs");
        fs_err::create_dir_all(&programs)?;
        for name in PROGRAMS {
            let program = programs.join(name);
            fs_err::write(&program, "#!/bin/sh\nexit 99\n")?;
            fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self {
            cargo_home,
            programs,
        })
    }

    /// Gives a command these surroundings.
    pub(super) fn surround(&self, command: &mut Command) {
        let mut path = self.programs.clone().into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        command
            .envs(VARIABLES)
            .env("CARGO_HOME", &self.cargo_home)
            .env("PATH", path);
    }
}
