//! Manifests: what is taken has one form only, so that a bundle id names one manifest.
#![no_main]

use stub::bundle::Manifest;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(manifest) = Manifest::decode(input) {
        assert_eq!(manifest.encode(), input);
        drop(manifest.installed_components());
    }
});
