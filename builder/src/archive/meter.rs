//! Counts the bytes that go into the tar library, limits them, and notes why they ended.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use stub::error::{Error, Kind};
use stub::progress::bytes;

/// Between the contents of two members lie at most so many bytes of headers, long names and extended attributes: the
/// tar library holds them in memory.
const MAX_HEADERS: u64 = 1 << 20;

/// An archive consists of blocks of so many bytes.
const BLOCK: u64 = 512;

/// At an archive's end stand two blocks of zeros.
const END_MARKER: u64 = 2 * BLOCK;

/// How far reading has come, how far it may go, and why it stopped. Shared with the reader inside the tar library, whose
/// own errors do not tell a truncated archive from a damaged one.
pub(super) struct Meter {
    budget: u64,
    position: Cell<u64>,
    limit: Cell<u64>,
    trouble: RefCell<Option<Trouble>>,
    /// Whether the end of an archive may be left out.
    open_end: bool,
    /// Where the last member that was seen ends, without the padding of its last block.
    member_end: Cell<Option<u64>>,
    /// How many bytes of a missing end marker have yet to be supplied.
    made_up: Cell<u64>,
}

/// Why reading stopped.
pub(super) enum Trouble {
    /// There are no more data.
    Ended,
    /// They cannot be read.
    Failed(io::Error),
    /// There are too many headers between two members.
    LongHeaders,
    /// The archive is longer than allowed.
    OverBudget,
}

impl Meter {
    pub(super) fn new(budget: u64, open_end: bool) -> Self {
        Self {
            budget,
            position: Cell::new(0),
            limit: Cell::new(MAX_HEADERS),
            trouble: RefCell::new(None),
            open_end,
            member_end: Cell::new(None),
            made_up: Cell::new(0),
        }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.position.get()
    }

    /// Takes the reason why reading stopped, if it did.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// Notes where the content of a member ends. All bytes after it count as headers until the next call.
    pub(super) fn member_ends(&self, end: u64) {
        self.member_end.set(Some(end));
        self.limit.set(end.saturating_add(MAX_HEADERS));
    }

    /// Bytes after this do not count as headers.
    pub(super) fn lift_limit(&self) {
        self.limit.set(u64::MAX);
    }

    /// How much is missing of an archive that ends here: the padding of the last member's last block, and the end marker.
    /// `None` if more than that is missing, or if it may not be.
    fn missing_end(&self) -> Option<u64> {
        let end = self.member_end.get().filter(|_| self.open_end)?;
        let full = end.checked_next_multiple_of(BLOCK)?;
        let position = self.position.get();
        let missing = full.checked_sub(position)?.checked_add(END_MARKER)?;
        (position >= end).then_some(missing)
    }
}

impl Trouble {
    pub(super) fn into_error(self, meter: &Meter) -> Error {
        let after = format!("after {} unpacked bytes", meter.position.get());
        match self {
            Self::Ended => Error::new(Kind::Integrity, "the archive is truncated")
                .expected("the end marker of a tar archive")
                .found(format!("the end of the data {after}"))
                .hint("compare the size of the download with the publisher's, and fetch it again"),
            Self::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::new(Kind::Integrity, "the archive is truncated")
                    .expected("more compressed data")
                    .found(format!("the end of the data {after}"))
                    .hint(
                        "compare the size of the download with the publisher's, and fetch it again",
                    )
            }
            Self::Failed(error) => Error::new(
                Kind::Integrity,
                format!("the archive cannot be unpacked: {error}"),
            )
            .found(format!("damage {after}"))
            .hint("check that `format` in the recipe fits the download"),
            Self::LongHeaders => Error::new(
                Kind::Input,
                "the archive has more headers between two members than any release needs",
            )
            .expected(format!("at most {MAX_HEADERS} bytes"))
            .hint("do not use this download, and tell its publisher"),
            Self::OverBudget => Error::new(
                Kind::Input,
                format!("the archive unpacks to more than {}", bytes(meter.budget)),
            )
            .hint("do not use this download: no release of a program is this large"),
        }
    }
}

/// An archive's bytes on their way to the tar library.
pub(super) struct Metered<'a> {
    inner: &'a mut dyn Read,
    meter: &'a Meter,
}

impl<'a> Metered<'a> {
    pub(super) fn new(inner: &'a mut dyn Read, meter: &'a Meter) -> Self {
        Self { inner, meter }
    }

    /// Reads the data, and after it the end marker if the archive may leave it out.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meter = self.meter;
        if meter.made_up.get() == 0 {
            let read = self.inner.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let Some(missing) = meter.missing_end() else {
                return Ok(0);
            };
            meter.made_up.set(missing);
        }
        let left = meter.made_up.get();
        let count = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..count].fill(0);
        meter.made_up.set(left - count as u64);
        Ok(count)
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meter = self.meter;
        match *meter.trouble.borrow() {
            None => {}
            Some(Trouble::Ended) => return Ok(0),
            Some(_) => return Err(io::ErrorKind::Other.into()),
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let stop = |trouble| {
            meter.trouble.replace(Some(trouble));
            io::Error::from(io::ErrorKind::Other)
        };
        let position = meter.position.get();
        let room = meter.limit.get().min(meter.budget) - position;
        if room == 0 {
            return Err(stop(if position == meter.budget {
                Trouble::OverBudget
            } else {
                Trouble::LongHeaders
            }));
        }
        let most = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match self.fill(&mut buffer[..most]) {
            Ok(0) => {
                meter.trouble.replace(Some(Trouble::Ended));
                Ok(0)
            }
            Ok(read) => {
                meter.position.set(position + read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(stop(Trouble::Failed(error))),
        }
    }
}
