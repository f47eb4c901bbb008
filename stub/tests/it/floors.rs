//! The house has floors: a module uses only modules on its own floor and below, and no two use each other, not even by
//! way of others. `ARCHITECTURE.md` has the picture.

use std::path::Path;

use support::floors::{arrows, faults};

/// From the ground up.
const FLOORS: [&[&str]; 6] = [
    &[
        "bundle",
        "child",
        "digest",
        "error",
        "file_system",
        "files",
        "licenses",
        "lock",
        "memory",
        "oci",
        "output",
        "paths",
        "progress",
        "purl",
        "sbom",
        "shell",
        "signals",
        "signature",
        "table",
        "text",
        "threads",
    ],
    &["cidr", "config", "layout", "services"],
    &[
        "components",
        "kubeconfig",
        "network",
        "pki",
        "render",
        "units",
    ],
    &[
        "api",
        "host",
        "images",
        "process",
        "store",
        "systemd",
        "user_kubeconfig",
    ],
    &["boot", "cluster", "install", "lifecycle", "status"],
    &["cli"],
];

#[test]
fn arrows_only_go_down() {
    let arrows = arrows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let faults = faults(&arrows, &FLOORS);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The test sees what it is to see.
    assert!(arrows["cli"].contains_key("install") && arrows["pki"].contains_key("kubeconfig"));
}
