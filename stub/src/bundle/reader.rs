//! Taking a bundle apart.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err::File;

use super::trailer::{self, DAMAGED_HINT, Trailer, damaged};
use super::{FrameEntry, Manifest};
use crate::digest::Sha256;
use crate::error::{Context, Error, Kind, Result};
use crate::memory::zeroed;

/// An open bundle whose manifest has been verified against the trailer.
///
/// Frames are read with `pread`, so that threads share one of these; nothing is memory-mapped, so that a file that
/// shrinks under our feet is an error and not a signal.
#[derive(Debug)]
pub struct Bundle {
    file: File,
    path: PathBuf,
    trailer: Trailer,
    manifest: Manifest,
    /// Where each frame of the manifest begins in the file.
    offsets: Vec<u64>,
}

impl Bundle {
    /// Opens a file that must be a bundle.
    pub fn open(path: &Path) -> Result<Self> {
        Self::probe(File::open(path)?, path)?.ok_or_else(|| not_whole(path))
    }

    /// Opens the bundle this process was started from, if it was started from one.
    ///
    /// `None` for the installed `usernetes` command, which is a stub with nothing after it. A stub with something
    /// after it that does not end like a bundle is an error: most often, a download was interrupted.
    pub fn of_this_process() -> Result<Option<Self>> {
        let path = std::env::current_exe()?;
        // By way of /proc, so that a file replaced since we started is not mistaken for ourselves.
        let file = File::open("/proc/self/exe")?;
        let whole =
            elf_len(&file)?.is_none_or(|len| len == file.metadata().map_or(len, |m| m.len()));
        let bundle = Self::probe(file, &path)?;
        if bundle.is_none() && !whole {
            return Err(not_whole(&path));
        }
        Ok(bundle)
    }

    /// Looks at the end of a file for a trailer and reads the manifest it points to.
    fn probe(file: File, path: &Path) -> Result<Option<Self>> {
        let about = || path.display().to_string();
        let file_len = file.metadata()?.len();
        let Some(trailer_offset) = file_len.checked_sub(trailer::LEN as u64) else {
            return Ok(None);
        };
        let mut end = [0; trailer::LEN];
        read_at(&file, &mut end, trailer_offset).about(about)?;
        let Some(trailer) = Trailer::decode(&end, file_len).about(about)? else {
            return Ok(None);
        };
        let mut text = zeroed(trailer.manifest_len).about(about)?;
        read_at(&file, &mut text, trailer.manifest_offset).about(about)?;
        let found = Sha256::of(&text);
        if found != trailer.manifest_sha256 {
            return Err(damaged(format!(
                "{}: the bundle's manifest is damaged",
                path.display()
            ))
            .expected(format!("sha256 {}", trailer.manifest_sha256))
            .found(format!("sha256 {found}")));
        }
        let manifest = Manifest::decode(&text).about(about)?;
        let mut offset = trailer.payload_offset;
        let offsets = manifest
            .frames
            .iter()
            .map(|f| {
                let at = offset;
                offset += f.length;
                at
            })
            .collect();
        if offset != trailer.manifest_offset || manifest.stub.size != trailer.stub_len {
            return Err(damaged(format!(
                "{}: the bundle's manifest does not fit its trailer",
                path.display()
            )));
        }
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            trailer,
            manifest,
            offsets,
        }))
    }

    /// The bundle id: the digest of its manifest.
    #[must_use]
    pub fn id(&self) -> Sha256 {
        self.trailer.manifest_sha256
    }

    /// Where the file was found. For messages: it may have been moved since.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to the open file itself, whatever lies at [`path`](Self::path) by now. Good in this process, as
    /// long as the bundle is open; also to be executed.
    #[must_use]
    pub fn open_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Where its parts lie.
    #[must_use]
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The compressed bytes of the manifest's frame of that index, not yet verified.
    pub fn packed(&self, index: usize) -> Result<Vec<u8>> {
        let (entry, _) = self.entry(index)?;
        let mut bytes = zeroed(entry.length).about(|| self.path.display())?;
        self.read_packed(index, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the compressed bytes of the manifest's frame of that index into a buffer of their length.
    pub(super) fn read_packed(&self, index: usize, packed: &mut [u8]) -> Result<()> {
        let (_, offset) = self.entry(index)?;
        read_at(&self.file, packed, offset).about(|| self.path.display())
    }

    /// The verified bytes of the stub.
    pub fn stub(&self) -> Result<Vec<u8>> {
        let mut bytes = zeroed(self.trailer.stub_len).about(|| self.path.display())?;
        read_at(&self.file, &mut bytes, 0).about(|| self.path.display())?;
        let what = || "the stub".to_owned();
        self.compare(what, self.manifest.stub.sha256, Sha256::of(&bytes))?;
        Ok(bytes)
    }

    /// Fails unless the compressed bytes of a frame are those that the manifest names.
    pub(super) fn check_packed(&self, entry: &FrameEntry, packed: &[u8]) -> Result<()> {
        let what = || format!("the compressed form of {}", self.owners(entry));
        self.compare(what, entry.packed, Sha256::of(packed))
    }

    /// Fails unless the padding between stub and payload is zero.
    pub(super) fn check_padding(&self) -> Result<()> {
        let padding = self.trailer.payload_offset - self.trailer.stub_len;
        let mut bytes = zeroed(padding).about(|| self.path.display())?;
        read_at(&self.file, &mut bytes, self.trailer.stub_len).about(|| self.path.display())?;
        if bytes.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let path = self.path.display();
        Err(damaged(format!(
            "{path}: the padding after the stub is not zero"
        )))
    }

    /// Says of an error of decoding which file it is about.
    pub(super) fn decoding<T>(&self, entry: &FrameEntry, result: Result<T>) -> Result<T> {
        result
            // A lack of memory does not mean that the file is damaged.
            .map_err(|e| match e.kind() {
                Kind::Integrity => e.hint(DAMAGED_HINT),
                _ => e,
            })
            .about(|| format!("{}: {}", self.path.display(), self.owners(entry)))
    }

    /// Fails unless this is the digest of the content of a frame.
    pub(super) fn check_content(&self, entry: &FrameEntry, found: Sha256) -> Result<()> {
        self.compare(|| self.owners(entry), entry.sha256, found)
    }

    fn entry(&self, index: usize) -> Result<(&FrameEntry, u64)> {
        let entry = self
            .manifest
            .frames
            .get(index)
            .zip(self.offsets.get(index).copied());
        entry.ok_or_else(|| {
            Error::new(
                Kind::Failed,
                format!("{}: the bundle has no frame {index}", self.path.display()),
            )
        })
    }

    fn compare(&self, what: impl Fn() -> String, expected: Sha256, found: Sha256) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(
            damaged(format!("{}: {} is damaged", self.path.display(), what()))
                .expected(format!("sha256 {expected}"))
                .found(format!("sha256 {found}")),
        )
    }

    /// The files a frame holds, for messages: `component: path`.
    #[must_use]
    pub fn owners(&self, entry: &FrameEntry) -> String {
        let files = self
            .manifest
            .components
            .iter()
            .flat_map(|c| c.files.iter().map(move |f| (c, f)));
        let names: Vec<_> = files
            .filter(|(_, f)| f.sha256 == entry.sha256)
            .map(|(c, f)| format!("`{}` of {}", f.path, c.title()))
            .collect();
        names.join(" and ")
    }
}

fn not_whole(path: &Path) -> Error {
    damaged(format!("{}: this is not a whole bundle", path.display()))
        .expected(format!(
            "`{}` {} bytes before the end of the file",
            String::from_utf8_lossy(&trailer::MAGIC),
            trailer::LEN
        ))
        .found("something else: the file is not a bundle, or bytes were removed from or added to its end")
}

/// Where the ELF program at a file's start ends, if it says so: linkers put the table of sections last. Its place,
/// entry size and count stand at 40, 58 and 60 in the header (System V ABI, chapter 4, 64-bit).
fn elf_len(file: &File) -> Result<Option<u64>> {
    let mut header = [0; 64];
    match file.file().read_exact_at(&mut header, 0) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let number = |at: usize, len: usize| {
        let bytes = header[at..at + len].iter().rev();
        bytes.fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let table = number(40, 8);
    let known = header[..5] == *b"\x7fELF\x02" && table != 0;
    Ok(known.then(|| table.saturating_add(number(58, 2) * number(60, 2))))
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> Result<()> {
    file.file()
        .read_exact_at(bytes, offset)
        .map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                damaged("the bundle became shorter while it was being read")
            }
            _ => e.into(),
        })
}
