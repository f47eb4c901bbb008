//! Reading a tar archive member by member, trusting nothing in it.

use std::fmt;
use std::io::{self, Read};

use stub::error::{Error, Kind, Result};

use super::meter::{Meter, Metered, Trouble};

/// One member of an archive.
pub(super) struct Member<'a> {
    /// Its name, relative, with `/` between plain parts. Empty for the archive's root.
    pub(super) name: String,
    pub(super) sort: Sort,
    /// Bytes of content, as its header says. [`Member::content`] holds as many, or ends in an error.
    pub(super) size: u64,
    pub(super) content: &'a mut dyn Read,
}

/// The type of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sort {
    File,
    Directory,
    Symlink(String),
    Hardlink(String),
    Sparse,
    CharDevice,
    BlockDevice,
    Fifo,
    Unknown(u8),
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("a regular file"),
            Self::Directory => f.write_str("a directory"),
            Self::Symlink(target) => write!(f, "a symlink to {}", quoted(target)),
            Self::Hardlink(target) => write!(f, "a hard link to {}", quoted(target)),
            Self::Sparse => f.write_str("a sparse file"),
            Self::CharDevice => f.write_str("a character device"),
            Self::BlockDevice => f.write_str("a block device"),
            Self::Fifo => f.write_str("a FIFO"),
            Self::Unknown(byte) => write!(f, "a member of the unknown type {byte:#04x}"),
        }
    }
}

/// The allowed forms of member names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Relative. An absolute one is refused.
    Relative,
    /// Relative to the root of an image, whether or not they begin with `/`: some builders of images write one. Some
    /// also leave out an archive's end, and so may a layer.
    Rooted,
}

/// Text out of an archive, fit for a message: without control characters and not endless.
fn shown(text: &str, most: usize) -> String {
    let start = text.chars().take(most);
    let mut shown: String = start.flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// A name out of an archive, in backticks, fit for a message.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", shown(name, 200))
}

/// Shows every member of an uncompressed archive to `visit`, and reads the archive to its end.
///
/// `budget` is its greatest length in bytes, and is reduced by its length. Bytes behind the end marker count, and are
/// otherwise ignored; a missing end marker is an error, except of a layer that ends where a member does: its digest says
/// that nothing is missing.
pub(super) fn walk(
    input: &mut dyn Read,
    names: Names,
    budget: &mut u64,
    visit: &mut dyn FnMut(Member<'_>) -> Result<()>,
) -> Result<()> {
    let meter = Meter::new(*budget, names == Names::Rooted);
    let mut archive = ::tar::Archive::new(Metered::new(input, &meter));
    let outcome = members(&mut archive, &meter, names, visit);
    // An earlier failure, for example of `each` in the middle of a content, may have this cause.
    if let Some(trouble) = meter.trouble() {
        return Err(trouble.into_error(&meter));
    }
    outcome?;
    // The rest holds nothing of interest but the checksum of the compressed data.
    meter.lift_limit();
    let drained = io::copy(&mut archive.into_inner(), &mut io::sink());
    *budget -= meter.position();
    match meter.trouble() {
        Some(Trouble::Ended) | None => drained.map(drop).map_err(Error::from),
        Some(trouble) => Err(trouble.into_error(&meter)),
    }
}

fn members(
    archive: &mut ::tar::Archive<Metered<'_>>,
    meter: &Meter,
    names: Names,
    visit: &mut dyn FnMut(Member<'_>) -> Result<()>,
) -> Result<()> {
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        // How long a sparse file is says nothing about how much of it is in the archive.
        let stored = if entry.header().entry_type().is_gnu_sparse() {
            entry.header().entry_size().map_err(damaged)?
        } else {
            entry.size()
        };
        let end = entry.raw_file_position().saturating_add(stored);
        meter.member_ends(end);
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let path = entry.path_bytes().into_owned();
        let name = normalise(&path, names)?;
        let sort = sort(&mut entry, &path)?;
        let size = entry.size();
        visit(Member {
            name,
            sort,
            size,
            content: &mut Content { entry, left: size },
        })?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "reads well in `map_err`")]
fn damaged(error: io::Error) -> Error {
    Error::new(
        Kind::Integrity,
        "this is not a tar archive, or a damaged one",
    )
    // The tar library's message repeats the bytes it found.
    .found(shown(&error.to_string(), 60))
    .hint("check that `format` in the recipe fits the download")
}

/// The name in one spelling: without leading, doubled and trailing slashes and without `.`. A name that is not UTF-8
/// is never wanted, so it does not matter how it is replaced.
fn normalise(path: &[u8], names: Names) -> Result<String> {
    let text = String::from_utf8_lossy(path);
    let why = if text.starts_with('/') && names == Names::Relative {
        "an absolute name"
    } else if text.split('/').any(|part| part == "..") {
        "a name with `..`"
    } else {
        let parts: Vec<&str> = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        return Ok(parts.join("/"));
    };
    Err(
        Error::new(Kind::Input, format!("the archive has a member with {why}"))
            .detail("member", quoted(&text))
            .hint("no honest release holds such a member: do not use this download, and tell its publisher"),
    )
}

fn sort(entry: &mut ::tar::Entry<'_, Metered<'_>>, path: &[u8]) -> Result<Sort> {
    use ::tar::EntryType as T;
    let target = |entry: &::tar::Entry<'_, Metered<'_>>| {
        let bytes = entry.link_name_bytes().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(match entry.header().entry_type() {
        // Before POSIX, directories were told by the slash alone.
        T::Regular if path.ends_with(b"/") => Sort::Directory,
        T::Regular if has_sparse_extension(entry)? => Sort::Sparse,
        T::Regular => Sort::File,
        T::Directory => Sort::Directory,
        T::Symlink => Sort::Symlink(target(entry)),
        T::Link => Sort::Hardlink(target(entry)),
        T::GNUSparse => Sort::Sparse,
        T::Char => Sort::CharDevice,
        T::Block => Sort::BlockDevice,
        T::Fifo => Sort::Fifo,
        other => Sort::Unknown(other.as_byte()),
    })
}

/// Whether the content is a map of a sparse file and its pieces, which GNU tar marks in extended attributes only:
/// "Storing Sparse Files" in its manual.
fn has_sparse_extension(entry: &mut ::tar::Entry<'_, Metered<'_>>) -> Result<bool> {
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else {
        return Ok(false);
    };
    for extension in extensions {
        let extension = extension.map_err(damaged)?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A member's content: as many bytes as its header says, or an error.
struct Content<'a, 'm> {
    entry: ::tar::Entry<'a, Metered<'m>>,
    left: u64,
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.entry.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
