//! Lockfiles: what is read can be written and read again.
#![no_main]

use builder::lockfile::Lockfile;

libfuzzer_sys::fuzz_target!(|input: &str| {
    if let Ok(lockfile) = Lockfile::parse(input) {
        let text = lockfile.to_text().expect("it was read");
        let again = Lockfile::parse(&text).expect("it was written by us");
        assert_eq!(again.to_text().expect("it was read"), text);
    }
});
