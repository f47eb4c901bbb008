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
mod floors;
mod gc;
mod home;
mod homes;
mod host;
mod install;
mod interrupted;
mod kubeconfig;
mod lifecycle;
mod machine;
mod messages;
mod names;
mod owner;
mod pack;
mod places;
mod ports;
mod rollback;
mod roots;
mod run;
mod signed;
#[path = "../../../tests/support/signer.rs"]
mod signer;
mod stage;
mod system_errors;
mod unfit;
mod upgrade;
