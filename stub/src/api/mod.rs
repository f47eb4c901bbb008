//! The API server, asked from this machine: a client, the making of objects, and what is said about those an
//! installation waits for.

mod apply;
mod client;
mod objects;

pub(crate) use apply::apply;
pub use client::{Answer, Client};
pub(crate) use objects::{Health, dns, node};
