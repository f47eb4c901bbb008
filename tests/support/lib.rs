//! What the tests of the builder and of the stub share.
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on has failed: it panics"
)]

pub mod floors;
pub mod program;
pub mod scenario;
pub mod server;
pub mod signer;
