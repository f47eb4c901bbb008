//! Debian's `Release` and `Packages` files.
#![no_main]

use builder::fuzz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    fuzz::release(input);
    fuzz::packages(input);
});
