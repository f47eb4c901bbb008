//! `builder demo`: starts the demo, which is a program of its own in `tests/demo`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use clap::Args;
use stub::child;
use stub::error::{Error, Kind, Result};

use super::inputs::Inputs;

/// Arguments of `builder demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Pass these arguments to the demo; `--help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    pub arguments: Vec<OsString>,
}

/// Compiles the checkout's demo and replaces this process by it. Returns only if that is impossible.
pub(crate) fn run(inputs: &Inputs, args: &DemoArgs) -> Result<()> {
    let workspace = inputs.workspace()?;
    let mut cargo = child::cargo();
    cargo
        .args(["run", "--locked", "--package=demo", "--manifest-path"])
        .arg(workspace.root().join("Cargo.toml"));
    // With this builder's own profile, only the demo's own code is left to compile.
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    if inputs.offline {
        cargo.arg("--offline");
    }
    cargo
        .arg("--")
        .args(inputs.arguments())
        .args(&args.arguments);
    child::announce(&cargo);
    let error = cargo.exec();
    Err(Error::new(Kind::Host, format!("cannot run cargo: {error}"))
        .hint("install Rust with rustup, and run `cargo run --release -- demo` in the checkout"))
}
