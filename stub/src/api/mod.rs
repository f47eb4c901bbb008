//! Talks to the API server from this machine: a client, the creation of objects, and the health of the objects that
//! `install` waits for.

mod apply;
mod client;
mod objects;
mod pods;

pub(crate) use apply::apply;
pub use client::{Answer, Client};
pub(crate) use objects::{Health, dns, node};
pub(crate) use pods::ReadyPods;
