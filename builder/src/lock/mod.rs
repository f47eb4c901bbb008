//! Locking: resolves recipes into the [lockfile](crate::lockfile), and checks whether the two still agree.

pub mod changes;
pub mod check;
pub(crate) mod checksums;
mod choose;
mod evidence;
pub mod newer;
mod pin;
pub mod resolve;
mod signature;
mod skew;
pub mod update;
