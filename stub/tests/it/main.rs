//! Runs the real program as a user would: with bundles of tiny contents, in a temporary home directory.
#![expect(
    clippy::unwrap_used,
    reason = "these are tests, their helpers included"
)]

mod backup;
mod beforehand;
mod certs;
mod cleanup;
mod cluster;
mod commands;
mod damaged_bundle;
mod floors;
mod gate;
mod gc;
mod homes;
mod host;
mod images;
mod install;
mod interrupted;
mod join;
mod kubeconfig;
mod lifecycle;
mod messages;
mod names;
mod owner;
mod places;
mod ports;
mod protocol;
mod rollback;
mod roots;
mod run;
mod signed;
mod supporting;
mod system_errors;
mod unfit;
mod upgrade;
