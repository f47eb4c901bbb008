//! The program that is tried, and the one that disturbs it.

use std::path::Path;
use std::process::Command;

use stub::child;
use stub::error::{Context as _, Error, Kind, Result};

/// Whether there is `strace` in PATH.
pub fn has_strace() -> bool {
    Command::new("strace").arg("-V").output().is_ok()
}

/// Compiles the program that is tried, with the profile that this one was compiled with, into the same directory.
pub fn build() -> Result<()> {
    let own = std::env::current_exe()?;
    let directory = own.parent().and_then(Path::file_name);
    let profile = match directory.and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = child::cargo()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "-p", "stub", "--bin", "usernetes"])
        .args(["--profile", profile])
        .status()
        .about(|| "cargo")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, "`usernetes` cannot be compiled").hint("the reason is above"))
}
