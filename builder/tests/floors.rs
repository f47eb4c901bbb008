//! The builder's modules are a house of floors. `ARCHITECTURE.md` has the picture.

use std::path::Path;

use support::floors::{arrows, faults};

/// From the ground up.
const FLOORS: [&[&str]; 5] = [
    &[
        "address",
        "archive",
        "cache",
        "date",
        "files",
        "http",
        "license",
        "oci",
        "wording",
        "workspace",
    ],
    &["lockfile", "recipe"],
    &[
        "closed",
        "debian",
        "libraries",
        "mirror",
        "registry",
        "source",
        "tbz",
    ],
    &["fetch", "lock", "pack", "verify"],
    &["cli", "command", "fuzz"],
];

#[test]
fn arrows_only_go_down() {
    let arrows = arrows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let faults = faults(&arrows, &FLOORS);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The test sees what it is to see.
    assert!(arrows["fetch"].contains_key("cache") && arrows["command"].contains_key("pack"));
}
