//! Makes Usernetes bundles: recipes → lock → fetch → pack.

pub mod archive;
pub mod cli;
pub mod debian;
pub mod digest;
pub mod files;
pub mod lock;
pub mod lockfile;
pub mod recipe;
pub mod tbz;
