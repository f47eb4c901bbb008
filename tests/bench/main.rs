//! `cargo bench -p builder -- ARGUMENTS`: measures the promises of size and speed. The library beside this file does it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let builder = Path::new(env!("CARGO_BIN_EXE_builder"));
    benchmark::main(builder, Path::new(env!("CARGO_MANIFEST_DIR")))
}
