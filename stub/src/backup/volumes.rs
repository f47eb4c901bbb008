//! The data of volumes in a backup.
//!
//! Containers write their files under subordinate ids. Without root they can be read, and made again, only in a user
//! namespace, which RootlessKit makes: there, each file has the id that its container knows. So this program runs itself
//! in such a namespace, as [`pack`] or [`unpack`], and passes a tar archive through a pipe. In the backup it is cut into
//! parts, because the size of an entry must be known before its bytes.

use std::collections::BTreeMap;
use std::fs::FileType;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use crate::components::local_path;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::contents;
use crate::host::Machine;
use crate::layout::Layout;
use crate::progress::{Progress, bytes};
use crate::protocol;

/// The directory of the parts in a backup.
pub(super) const VOLUMES: &str = "volumes";
/// The length of all parts but the last, in bytes.
const PART: u64 = 32 << 20;

/// The directory of all volumes of an installation.
pub(super) fn directory(layout: &Layout) -> PathBuf {
    layout.data(local_path::VOLUMES_SOURCE)
}

/// Whether there is a volume.
pub(super) fn are_there(layout: &Layout) -> Result<bool> {
    Ok(!contents(&directory(layout))?.is_empty())
}

/// Whether an entry of a backup is a part of the volumes.
pub(super) fn is_part(name: &str) -> bool {
    name.strip_prefix(VOLUMES)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Gives the volumes as parts, one after the other, each with its name in a backup.
pub(super) fn read(
    layout: &Layout,
    machine: &Machine,
    progress: &Progress,
    mut part: impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let wait = progress.wait("volumes");
    let mut command = inside(layout, machine, protocol::PACK_VOLUMES, &directory(layout));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut number, mut total) = (0_u32, 0_u64);
    let mut pipe = child.stdout.take();
    while let Some(output) = &mut pipe {
        let mut buffer = Vec::new();
        output.take(PART).read_to_end(&mut buffer)?;
        if buffer.is_empty() {
            break;
        }
        part(&format!("{VOLUMES}/{number:08}"), &buffer)?;
        number += 1;
        total += buffer.len() as u64;
        wait.say(&bytes(total));
    }
    ended(child, "the data of volumes cannot be read")?;
    wait.finish(&bytes(total));
    Ok(())
}

/// Makes the volumes from the bytes that `write` gives. If this fails, what is there is not complete.
pub(super) fn restore(
    layout: &Layout,
    machine: &Machine,
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(target)?;
    let mut command = inside(layout, machine, protocol::UNPACK_VOLUMES, target);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut pipe| write(&mut pipe));
    // The reason why the pipe is broken is what the other end says.
    ended(child, "the data of volumes cannot be restored")?;
    written
}

/// This program, in a user namespace of the generation's RootlessKit.
fn inside(layout: &Layout, machine: &Machine, verb: &str, directory: &Path) -> Command {
    let mut command = machine.command(&layout.program("rootlesskit"));
    command
        .arg(layout.program("usernetes"))
        .arg(verb)
        .arg(directory);
    command
}

fn ended(mut child: Child, message: &str) -> Result<()> {
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, message)
        .found(format!("{status}; the reason is above"))
        .hint("run `usernetes doctor`; `usernetes backup --without-volumes` leaves the data of volumes out"))
}

/// Writes everything below a directory as a tar archive: files, directories and links, with their owners. What only the
/// kernel can make again, such as sockets, is left out.
pub fn pack(directory: &Path, output: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(output);
    tar.follow_symlinks(false);
    let mut seen = BTreeMap::new();
    let mut waiting = contents(directory)?;
    waiting.reverse();
    while let Some(path) = waiting.pop() {
        // A program may remove a file at any time.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let name = path.strip_prefix(directory).unwrap_or(&path);
        append(&mut tar, &path, name, &metadata, &mut seen).about(|| path.display())?;
        if metadata.is_dir() {
            let mut below = contents(&path)?;
            below.reverse();
            waiting.extend(below);
        }
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    name: &Path,
    metadata: &std::fs::Metadata,
    seen: &mut BTreeMap<(u64, u64), PathBuf>,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    let kind = metadata.file_type();
    if is_special(kind) {
        return Ok(());
    }
    if kind.is_dir() {
        header.set_size(0);
        tar.append_data(&mut header, name, io::empty())?;
    } else if kind.is_symlink() {
        header.set_size(0);
        tar.append_link(&mut header, name, fs::read_link(path)?)?;
    } else {
        if metadata.nlink() > 1 {
            let id = (metadata.dev(), metadata.ino());
            if let Some(first) = seen.get(&id) {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                tar.append_link(&mut header, name, first)?;
                return Ok(());
            }
            seen.insert(id, name.to_owned());
        }
        // It may grow or shrink meanwhile, but the entry has the size that its header says.
        let size = metadata.len();
        header.set_size(size);
        let file = fs::File::open(path)?;
        tar.append_data(&mut header, name, file.chain(io::repeat(0)).take(size))?;
    }
    Ok(())
}

fn is_special(kind: FileType) -> bool {
    kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
}

/// Makes what [`pack`] has written, below a directory, with the same owners if this process may give files away.
pub fn unpack(directory: &Path, input: impl Read) -> Result<()> {
    let mut tar = tar::Archive::new(input);
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(rustix::process::geteuid().is_root());
    tar.set_preserve_mtime(true);
    tar.unpack(directory).about(|| directory.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn volumes_come_back_as_they_were() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| from.path().join(name);
        let deep = format!("pvc-1/{}", "d".repeat(120));
        fs::create_dir_all(at(&deep)).unwrap();
        fs::write(at("pvc-1/data"), "important").unwrap();
        fs::write(at(&format!("{deep}/{}", "f".repeat(120))), "deep").unwrap();
        fs::hard_link(at("pvc-1/data"), at("pvc-1/same")).unwrap();
        fs::os::unix::fs::symlink("/nowhere/at all", at("pvc-1/link")).unwrap();
        fs::set_permissions(at("pvc-1/data"), PermissionsExt::from_mode(0o4750)).unwrap();
        fs::create_dir(at("pvc-2")).unwrap();
        fs::set_permissions(at("pvc-2"), PermissionsExt::from_mode(0o1777)).unwrap();
        let _socket = UnixListener::bind(at("pvc-2/socket")).unwrap();
        let mut archive = Vec::new();
        pack(from.path(), &mut archive).unwrap();
        unpack(to.path(), &archive[..]).unwrap();
        let at = |name: &str| to.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().mode() & 0o7777;
        assert_eq!(fs::read_to_string(at("pvc-1/data")).unwrap(), "important");
        assert_eq!(mode("pvc-1/data"), 0o4750);
        assert_eq!(mode("pvc-2"), 0o1777);
        assert_eq!(fs::metadata(at("pvc-1/same")).unwrap().nlink(), 2);
        assert_eq!(
            fs::read_link(at("pvc-1/link")).unwrap(),
            Path::new("/nowhere/at all")
        );
        let file = at(&format!("{deep}/{}", "f".repeat(120)));
        assert_eq!(fs::read_to_string(file).unwrap(), "deep");
        assert_eq!(contents(&at("pvc-2")).unwrap().len(), 0);
        let times = ["pvc-1/data"].map(|name| {
            [from.path(), to.path()].map(|dir| fs::metadata(dir.join(name)).unwrap().mtime())
        });
        assert!(times.iter().all(|[a, b]| a == b));
    }

    #[test]
    fn parts_are_told_from_other_entries() {
        assert!(is_part("volumes/00000000"));
        for other in [
            "volumes",
            "volumes.toml",
            "images/volumes/x",
            "etcd/member/x",
        ] {
            assert!(!is_part(other), "{other}");
        }
    }
}
