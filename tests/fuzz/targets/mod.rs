//! The targets, and what they have in common.

pub(crate) mod api;
pub(crate) mod archive;
pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod images;
pub(crate) mod kubeconfig;
pub(crate) mod machine;
pub(crate) mod ours;
pub(crate) mod programs;
pub(crate) mod published;
pub(crate) mod signature;
pub(crate) mod upstreams;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use stub::error::Error;

/// The longest error about foreign bytes, in bytes.
const LONGEST_ERROR: usize = 64 << 10;

/// An error about bytes from the network goes to a terminal: it is short, and steers nothing.
fn check_error(error: &Error) {
    let shown = error.to_string();
    assert!(
        shown.len() <= LONGEST_ERROR,
        "{} bytes: {shown:.300}",
        shown.len()
    );
    let steers = |c: char| c.is_control() && !"\n\t".contains(c);
    assert!(!shown.contains(steers), "{shown:?}");
}

/// A file in memory.
struct Memory(File);

impl Memory {
    fn of(parts: &[&[u8]]) -> Self {
        let file = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(file.expect("a file in memory"));
        for part in parts {
            file.write_all(part).expect("written to memory");
        }
        Self(file)
    }

    /// Where this process finds it.
    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string())
    }
}
