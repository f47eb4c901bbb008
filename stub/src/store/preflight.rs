//! Checks that find errors before anything is written.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use crate::bundle::Arch;
use crate::error::{Context, Error, Kind, Result};
use crate::file_system::{FileSystem, Obstacle, obstacle};
use crate::progress::bytes;

/// The next step when a directory will not do.
const ELSEWHERE: &str = "set XDG_DATA_HOME to a directory of yours on another file system";

/// Fails when programs of this architecture do not run here.
pub(super) fn architecture(bundle: Arch) -> Result<()> {
    if Arch::host() == Some(bundle) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        "the bundle is for another processor architecture",
    )
    .expected(std::env::consts::ARCH)
    .found(bundle)
    .hint(format!(
        "get the bundle for this machine: `usernetes-{}`",
        std::env::consts::ARCH
    )))
}

/// Fails when programs cannot be stored in and run from a directory, which need not exist yet.
pub(super) fn directory(dir: &Path) -> Result<()> {
    let FileSystem {
        existing,
        metadata,
        flags,
    } = FileSystem::of(dir)?;
    let shown = existing.display();
    if !metadata.is_dir() {
        return Err(
            Error::new(Kind::Host, format!("{shown} is not a directory"))
                .detail("wanted for", dir.display())
                .hint("set HOME to your home directory, or XDG_DATA_HOME to another directory"),
        );
    }
    match obstacle(flags) {
        Some(Obstacle::ReadOnly) => {
            return Err(
                Error::new(Kind::Host, format!("{shown} is on a read-only file system"))
                    .detail("wanted for", dir.display())
                    .hint(ELSEWHERE),
            );
        }
        Some(Obstacle::Noexec) => {
            return Err(Error::new(
                Kind::Host,
                format!("{shown} is on a file system from which no programs may be run (noexec)"),
            )
            .detail("wanted for", dir.display())
            .hint(format!(
                "{ELSEWHERE}, or ask an administrator to remove the mount option `noexec`"
            )));
        }
        None => {}
    }
    let what = if existing == dir {
        "the store"
    } else {
        "the directory"
    };
    ours(existing, &metadata, dir, what, ELSEWHERE)
}

/// Fails when the directory of generations is a link: generations find the store by `..`, which would start at the target.
pub(super) fn generations(dir: &Path) -> Result<()> {
    if !dir.is_symlink() {
        return Ok(());
    }
    let (shown, data) = (dir.display(), dir.parent().unwrap_or(dir).display());
    let target = fs_err::read_link(dir)?;
    Err(Error::new(Kind::Host, format!("{shown} is a link"))
        .expected("a directory: the links in it lead to the store beside it")
        .found(format!("a link to {}", target.display()))
        .hint(format!(
            "put the directory back (`rm {shown} && mv {} {shown}`); to have everything on another disk, make {data} a link, or set XDG_DATA_HOME",
            target.display()
        )))
}

/// Fails when files cannot be written to a directory, which need not exist yet: not ours, or not writable. `elsewhere`
/// is the next step in the hint, besides correcting the directory.
pub(crate) fn writable(dir: &Path, elsewhere: &str) -> Result<()> {
    let FileSystem {
        existing, metadata, ..
    } = FileSystem::of(dir)?;
    if !metadata.is_dir() {
        let shown = existing.display();
        return Err(
            Error::new(Kind::Host, format!("{shown} is not a directory"))
                .detail("wanted for", dir.display())
                .hint(format!("move it away, or {elsewhere}")),
        );
    }
    ours(existing, &metadata, dir, "the directory", elsewhere)
}

/// Fails when a directory, or the part of its path that exists, belongs to another user.
pub(crate) fn owned(dir: &Path) -> Result<()> {
    let FileSystem {
        existing, metadata, ..
    } = FileSystem::of(dir)?;
    owned_by_user(existing, &metadata, dir, "the directory")
}

/// Fails when the user may not make files in a directory, or in the part of its path that exists.
fn ours(
    existing: &Path,
    metadata: &std::fs::Metadata,
    dir: &Path,
    what: &str,
    elsewhere: &str,
) -> Result<()> {
    let shown = existing.display();
    owned_by_user(existing, metadata, dir, what)?;
    if access(existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Err(Error::new(Kind::Host, format!("{shown} is not writable"))
            .detail("wanted for", dir.display())
            .hint(format!("run `chmod u+wx {shown}`, or {elsewhere}")));
    }
    Ok(())
}

fn owned_by_user(
    existing: &Path,
    metadata: &std::fs::Metadata,
    dir: &Path,
    what: &str,
) -> Result<()> {
    let shown = existing.display();
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    // In a shared directory such as /tmp, users own the files that they make.
    let shared = metadata.mode() & 0o1000 != 0 && existing != dir;
    if owner != user && !shared {
        return Err(Error::new(Kind::Host, format!("{what} {shown} belongs to another user"))
            .expected(format!("user id {user}, which this process runs as"))
            .found(format!("user id {owner}"))
            .hint("run this without sudo, as the user who owns the cluster, with HOME set to that user's home directory"));
    }
    Ok(())
}

/// Fails unless this many bytes, and a tenth more, are free on a directory's file system.
pub(crate) fn space(dir: &Path, needed: u64) -> Result<()> {
    let file_system = statvfs(dir)
        .map_err(io::Error::from)
        .about(|| dir.display().to_string())?;
    let needed = needed + needed / 10;
    let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
    // Some network file systems do not know their size.
    if file_system.f_blocks == 0 || free >= needed {
        return Ok(());
    }
    Err(Error::new(
        Kind::Host,
        format!("{}: not enough free space", dir.display()),
    )
    .detail("needed", bytes(needed))
    .detail("free", bytes(free))
    .hint(format!(
        "free some space, for example with `usernetes gc`, or {ELSEWHERE}"
    )))
}
