//! Talks to the API server from this machine: a client, the creation of objects, and the health of the objects that
//! `install` waits for.

mod apply;
mod client;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod objects;
mod pods;
mod trust;
mod watch;

pub(crate) use apply::{apply, complaint, create};
pub(crate) use client::MERGE_PATCH;
pub(crate) use client::parse;
pub use client::{Answer, Client};
pub(crate) use objects::{
    Health, Started, condition, dns, items, network_policies, node, read_object,
};
pub(crate) use pods::ReadyPods;
pub(crate) use trust::{Pinned, pin};
pub(crate) use watch::{News, watch};
