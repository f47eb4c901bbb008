//! The classic tree, `usernetes-x86_64.tbz`: a tar archive, compressed by bzip2, that unpacks to `usernetes/`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use stub::bundle::BundlePath;
use stub::error::{Context, Error, Kind, Result};
use tar::{EntryType, Header};

/// The one directory at the top, as the shell scripts had it.
const TOP: &str = "usernetes";

/// Permissions of every directory that is not an entry itself.
const DIRECTORY_MODE: u32 = 0o755;

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is, below `usernetes/`.
    pub path: BundlePath,
    /// Permission bits; those of links mean nothing.
    pub mode: u32,
    /// Its content.
    pub content: Content,
}

/// The content of an [`Member`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file of these bytes.
    File(Vec<u8>),
    /// A symbolic link to this path, seen from the directory it lies in.
    Link(BundlePath),
    /// A directory. Only those that are otherwise empty, or have another mode than 0755, need an entry.
    Directory,
}

/// Writes the archive and flushes `out`. Whether it is synced to disk is up to `out`.
///
/// Entries come in the order of their paths, as text, each path once; they are taken from the iterator one by one, so
/// that only one file need be in memory. Directories precede their content. The same entries give the same bytes:
/// nothing else is recorded but names, modes and contents; times, owners and groups are 0.
///
/// # Errors
/// An entry is out of order or was itself an error, or `out` failed. The bytes written until then are no archive.
pub fn write(out: impl Write, entries: impl IntoIterator<Item = Result<Member>>) -> Result<()> {
    let bzip2 = bzip2::write::BzEncoder::new(out, bzip2::Compression::best());
    let mut tree = Tree {
        tar: tar::Builder::new(bzip2),
        directories: BTreeSet::new(),
    };
    tree.directory(TOP, DIRECTORY_MODE)?;
    let mut last: Option<BundlePath> = None;
    for entry in entries {
        let entry = entry?;
        if let Some(last) = last.filter(|last| *last >= entry.path) {
            return Err(Error::new(
                Kind::Failed,
                format!("`{}` comes out of order into the archive", entry.path),
            )
            .expected(format!("a path behind `{last}`")));
        }
        tree.append(&entry).about(|| entry.path.to_string())?;
        last = Some(entry.path);
    }
    tree.tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// What has been written.
struct Tree<W: Write> {
    tar: tar::Builder<W>,
    directories: BTreeSet<String>,
}

impl<W: Write> Tree<W> {
    fn append(&mut self, entry: &Member) -> io::Result<()> {
        let path = format!("{TOP}/{}", entry.path);
        for (slash, _) in path.match_indices('/') {
            self.directory(&path[..slash], DIRECTORY_MODE)?;
        }
        match &entry.content {
            Content::File(bytes) => {
                let mut header = header(EntryType::Regular, entry.mode);
                header.set_size(bytes.len() as u64);
                self.tar.append_data(&mut header, path, bytes.as_slice())
            }
            Content::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777);
                self.tar.append_link(&mut header, path, target.as_path())
            }
            Content::Directory => self.directory(&path, entry.mode),
        }
    }

    /// Writes a directory that has not been written yet.
    fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        if !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = header(EntryType::Directory, mode);
        let path = format!("{path}/");
        self.tar.append_data(&mut header, path, io::empty())
    }
}

/// The oldest header that every `tar` reads. Names that do not fit get GNU's extension from the library.
fn header(sort: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(sort);
    header.set_mode(mode & 0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use stub::digest::Sha256;

    use super::*;

    fn entry(path: &str, mode: u32, content: Content) -> Result<Member> {
        let path = BundlePath::new(path)?;
        Ok(Member {
            path,
            mode,
            content,
        })
    }

    fn file(path: &str) -> Result<Member> {
        entry(path, 0o555, Content::File(path.as_bytes().to_vec()))
    }

    fn long() -> String {
        format!("share/{}/{}", "a".repeat(200), "b".repeat(200))
    }

    fn sample() -> Vec<Result<Member>> {
        let link = |target: &str| Content::Link(BundlePath::new(target).unwrap());
        vec![
            file("bin/cni/bridge"),
            file("bin/etcd"),
            entry("bin/nft", 0, link("xtables-nft-multi")),
            entry("images", 0o700, Content::Directory),
            entry("images-empty", 0o755, Content::Directory),
            file("images/pause.tar"),
            entry("share/README", 0o444, Content::File(Vec::new())),
            file(&long()),
            entry("share/link", 0, link(&long())),
        ]
    }

    fn written(entries: Vec<Result<Member>>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write(&mut bytes, entries).map(|()| bytes)
    }

    /// One line a member, as `tar tjvf` would list it.
    fn listing(bytes: &[u8]) -> String {
        let mut archive = tar::Archive::new(bzip2::read::BzDecoder::new(bytes));
        let mut lines = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(
                (header.username(), header.groupname()),
                (Ok(Some("")), Ok(Some("")))
            );
            let sort = match header.entry_type() {
                EntryType::Regular => '-',
                EntryType::Directory => 'd',
                EntryType::Symlink => 'l',
                other => panic!("{other:?}"),
            };
            let mode = header.mode().unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let target = entry
                .link_name_bytes()
                .map(|t| String::from_utf8(t.into_owned()).unwrap());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            if let Some(inside) = path
                .strip_prefix("usernetes/")
                .filter(|_| !content.is_empty())
            {
                assert_eq!(content, inside);
            }
            let target = target.map(|t| format!(" -> {t}")).unwrap_or_default();
            lines.push(format!("{sort}{mode:04o} {} {path}{target}", content.len()));
        }
        lines
            .join(
                "
",
            )
            .replace(&"a".repeat(200), "<200 a>")
            .replace(&"b".repeat(200), "<200 b>")
    }

    #[test]
    fn what_is_read_back_is_what_was_written() {
        insta::assert_snapshot!(listing(&written(sample()).unwrap()), @r"
        d0755 0 usernetes/
        d0755 0 usernetes/bin/
        d0755 0 usernetes/bin/cni/
        -0555 14 usernetes/bin/cni/bridge
        -0555 8 usernetes/bin/etcd
        l0777 0 usernetes/bin/nft -> xtables-nft-multi
        d0700 0 usernetes/images/
        d0755 0 usernetes/images-empty/
        -0555 16 usernetes/images/pause.tar
        d0755 0 usernetes/share/
        -0444 0 usernetes/share/README
        d0755 0 usernetes/share/<200 a>/
        -0555 407 usernetes/share/<200 a>/<200 b>
        l0777 0 usernetes/share/link -> share/<200 a>/<200 b>
        ");
        insta::assert_snapshot!(listing(&written(Vec::new()).unwrap()), @r"
        d0755 0 usernetes/
        ");
    }

    /// Fails when another version of a library makes other bytes: then the trees of two builders differ.
    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let bytes = written(sample()).unwrap();
        assert_eq!(bytes, written(sample()).unwrap());
        assert!(bytes.starts_with(b"BZh9"));
        assert_eq!(Sha256::of(&bytes).short(16), "2d863d13006fae4c");
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        for second in ["bin/a", "bin/b"] {
            let error = written(vec![file("bin/b"), file(second)]).unwrap_err();
            assert_eq!(
                error.message(),
                format!("`{second}` comes out of order into the archive")
            );
        }
        let broken = Err(Error::new(Kind::Integrity, "damaged"));
        assert_eq!(
            written(vec![file("a"), broken]).unwrap_err().kind(),
            Kind::Integrity
        );
    }
}
