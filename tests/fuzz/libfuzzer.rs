//! One target under libFuzzer. The environment variable `FUZZ_TARGET` names it.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Check, run, target};

static CHECK: OnceLock<Check> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let check = CHECK.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name}: there is no such target"))
    });
    run(*check, input);
});
