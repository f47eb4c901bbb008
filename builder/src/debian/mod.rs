//! The Debian channel: components out of the archive this machine's apt installs from.
//!
//! A chain without a gap leads from the machine's keyring to a file: [`release`] fetches `InRelease` and has gpgv check
//! its signature, it holds the digest of the package index that [`packages`] reads, which holds the digest of each
//! `.deb`, which [`resolve`] puts into the lockfile. No host name goes there: [`apt`] says where the archive is, when
//! it is asked for and again when something is fetched.

pub mod apt;
mod deb822;
pub(crate) mod gpgv;
pub mod packages;
pub mod release;
pub mod resolve;
#[cfg(test)]
mod tests;
pub mod version;

use stub::error::Result;
pub(crate) use version::{archive_path, lockfile_url};

/// The beginning of a URL in the lockfile whose rest is a path in the archive. See [`apt::archive_base`].
pub const SCHEME: &str = "debian:";

/// Fetches a URL into memory: the URL, and how many bytes are accepted at most. `None` if there is no such file.
pub type Get<'a> = dyn Fn(&str, u64) -> Result<Option<Vec<u8>>> + 'a;
