//! The program at the head of a Usernetes bundle, as a library.
//!
//! `builder` depends on it, without the feature `cluster`, for the definition of the bundle format ([`bundle`]) and for the
//! modules that both programs share: [`error`], [`digest`], [`progress`], [`paths`]. All other modules install and run a
//! cluster. The program `usernetes` itself is [`cli`].

// Without the feature `cluster`, much of the shared code is not used.
#![cfg_attr(not(feature = "cluster"), allow(dead_code, unused_imports))]

pub mod bundle;
pub mod child;
pub mod digest;
pub mod error;
mod file_system;
pub mod files;
pub mod licenses;
pub mod memory;
pub mod oci;
pub mod output;
pub mod paths;
pub mod progress;
pub mod purl;
pub mod sbom;
pub mod shell;
pub mod signals;
pub mod signature;
pub mod table;
pub mod text;
pub mod threads;

#[cfg(feature = "cluster")]
pub mod api;
#[cfg(feature = "cluster")]
pub mod authorities;
#[cfg(feature = "cluster")]
pub mod backup;
#[cfg(feature = "cluster")]
pub mod beforehand;
#[cfg(feature = "cluster")]
pub mod boot;
#[cfg(feature = "cluster")]
pub mod cidr;
#[cfg(feature = "cluster")]
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "cluster")]
pub mod components;
#[cfg(feature = "cluster")]
pub mod config;
#[cfg(feature = "cluster")]
pub mod driver;
#[cfg(feature = "cluster")]
pub mod host;
#[cfg(feature = "cluster")]
pub mod images;
#[cfg(feature = "cluster")]
pub mod install;
#[cfg(feature = "cluster")]
pub mod join;
#[cfg(feature = "cluster")]
pub mod kubeconfig;
#[cfg(feature = "cluster")]
pub mod layout;
#[cfg(feature = "cluster")]
pub mod lifecycle;
#[cfg(feature = "cluster")]
mod lock;
#[cfg(feature = "cluster")]
pub mod manager;
#[cfg(feature = "cluster")]
pub mod network;
#[cfg(feature = "cluster")]
pub mod nodes;
#[cfg(feature = "cluster")]
pub mod pki;
#[cfg(feature = "cluster")]
pub mod ports;
#[cfg(feature = "cluster")]
pub mod process;
#[cfg(feature = "cluster")]
pub mod protocol;
#[cfg(feature = "cluster")]
pub mod render;
#[cfg(feature = "cluster")]
pub mod rootlesskit;
#[cfg(feature = "cluster")]
pub mod services;
#[cfg(feature = "cluster")]
pub mod snapshot;
#[cfg(feature = "cluster")]
pub mod status;
#[cfg(feature = "cluster")]
pub mod store;
#[cfg(feature = "cluster")]
pub mod supervise;
#[cfg(feature = "cluster")]
pub mod support;
#[cfg(feature = "cluster")]
pub mod systemd;
#[cfg(feature = "cluster")]
pub mod units;
#[cfg(feature = "cluster")]
pub mod user_kubeconfig;
