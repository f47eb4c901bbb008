//! What registries answer: indexes, manifests and configurations.
#![no_main]

use builder::fuzz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::image(input));
