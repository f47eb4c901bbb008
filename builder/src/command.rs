//! The commands of `builder`: each file has the arguments of one command and its deed.

pub(crate) mod build;
pub(crate) mod demo;
pub(crate) mod fetch;
pub mod inputs;
pub(crate) mod lock;
pub(crate) mod mirror;
pub(crate) mod sbom;
pub(crate) mod verify;
