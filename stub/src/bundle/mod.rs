//! The bundle format, written and read by this one module.
//!
//! ```text
//! 0                 stub: a static ELF program, untouched
//! stub_len          zero bytes up to the next multiple of 4096
//! payload_offset    frame … frame: zstd frames, back to back, in the order of the manifest's `frames`
//! manifest_offset   manifest: canonical JSON, see [`Manifest`]; its SHA-256 is the bundle id
//! file_len - 96     trailer: fixed size, see [`trailer`]
//! ```
//!
//! There is one frame for each distinct file content. A frame may be coded against another, earlier one, its
//! *prefix*: programs of one project share so much that this halves them, and those of two Go projects a third. A prefix
//! may have a prefix itself, so that at most [`MAX_CHAIN`] frames are decoded to get one file.
//!
//! Every byte is covered: the stub and the frames by digests in the manifest, the manifest by its digest in the
//! trailer, the padding and the reserved fields by being zero, the trailer by its magic and its arithmetic. That
//! is integrity, not origin: a signature outside of the file says who made it.

mod contents;
#[cfg(test)]
pub(crate) mod example;
pub mod frame;
mod library;
mod manifest;
mod names;
pub mod places;
mod reader;
pub mod trailer;
mod writer;

pub use contents::Receiver;
pub use library::Library;
pub use manifest::{Arch, Component, File, FrameEntry, Link, Manifest, Mode, Source, StubEntry};
pub use names::{BundlePath, Name, Version};
pub use reader::Bundle;
pub use writer::write;

/// The component name under which the stub itself is installed, and which no recipe may use.
pub const STUB_COMPONENT: &str = "usernetes";

/// The directories a component may have: the generation joins those of all components into one tree.
pub(crate) const TOP_DIRECTORIES: [&str; 5] = ["bin", "images", "lib", "libexec", "share"];

/// So many frames are decoded at most to get one file: its own, that of a program of its project, and that of the bundle's hub.
pub const MAX_CHAIN: usize = 3;

/// The payload begins at a multiple of this many bytes.
const ALIGNMENT: u64 = 4096;
