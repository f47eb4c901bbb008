//! What a user of a bundle sees: the commands run for real, on bundles made of tiny contents, under a throw-away HOME.
#![expect(
    clippy::unwrap_used,
    reason = "these are tests, their helpers included"
)]

mod certs;
mod cleanup;
mod cluster;
mod commands;
mod damaged_bundle;
mod gc;
mod home;
mod host;
mod install;
mod interrupted;
mod kubeconfig;
mod lifecycle;
mod machine;
mod pack;
mod signed;
#[path = "../../../tests/support/signer.rs"]
mod signer;
mod stage;
mod unfit;
mod upgrade;
