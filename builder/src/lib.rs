//! Makes Usernetes bundles: recipes → lock → fetch → pack.

mod address;
pub mod archive;
pub mod cache;
pub mod cli;
pub mod closed;
pub mod command;
mod date;
pub mod debian;
pub mod fetch;
pub mod files;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod http;
mod libraries;
mod license;
pub mod lock;
pub mod lockfile;
pub mod mirror;
pub mod oci;
pub mod pack;
pub mod recipe;
mod registry;
pub mod source;
pub mod tbz;
pub mod verify;
pub mod wording;
pub mod workspace;
