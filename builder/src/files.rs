//! Files that are either whole or not there.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stub::error::Result;

/// Replaces a file in one step by way of a temporary one beside it. Afterwards its content is on disk, and after a
/// crash at any instant it is the old one or the new one.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs_err::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    fs_err::File::open(directory)?.sync_all()?;
    Ok(())
}
