//! Files of digests.
#![no_main]

use builder::fuzz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::checksums(input));
