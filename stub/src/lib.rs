//! The head of a Usernetes bundle, as a library.
//!
//! `builder` depends on it for the one definition of the bundle format ([`bundle`]) and for the house's
//! common words: [`error`], [`digest`], [`progress`], [`paths`]. The binary `usernetes` adds [`cli`] on top.

pub mod api;
pub mod boot;
pub mod bundle;
pub mod cidr;
pub mod cli;
pub mod cluster;
pub mod components;
pub mod config;
pub mod digest;
pub mod error;
mod file_system;
pub mod files;
pub mod host;
pub mod images;
pub mod install;
pub mod kubeconfig;
pub mod layout;
pub mod licenses;
pub mod lifecycle;
pub mod memory;
pub mod network;
pub mod output;
pub mod paths;
pub mod pki;
pub mod process;
pub mod progress;
pub mod purl;
pub mod render;
pub mod sbom;
pub mod services;
pub mod shell;
pub mod signals;
pub mod signature;
pub mod status;
pub mod store;
pub mod systemd;
pub mod text;
pub mod threads;
pub mod units;
