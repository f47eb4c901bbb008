//! Locking: what recipes become in the [lockfile](crate::lockfile), and whether the two still agree.

pub mod check;
pub mod resolve;
pub mod update;
