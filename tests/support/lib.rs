//! What the tests of the builder, of the stub and of the whole share.
#![allow(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on has failed: it panics"
)]

pub mod floors;
#[cfg(feature = "home")]
pub mod home;
#[cfg(feature = "home")]
pub mod images;
#[cfg(feature = "home")]
pub mod machine;
#[cfg(feature = "home")]
pub mod pack;
pub mod program;
pub mod scenario;
pub mod server;
pub mod signer;
#[cfg(feature = "home")]
pub mod stage;
