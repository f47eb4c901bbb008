//! Checks the floors of the architecture: a module uses only modules on its own floor and below, and no two modules use each
//! other, not even by way of others. `ARCHITECTURE.md` shows the floors.

use std::path::Path;

use support::floors::{arrows, faults};

/// The modules of each floor, beginning with the lowest.
const FLOORS: [&[&str]; 6] = [
    &[
        "bundle",
        "child",
        "digest",
        "error",
        "file_system",
        "files",
        "licenses",
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
    &["cidr", "config", "layout", "lock", "protocol", "services"],
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
        "driver",
        "host",
        "images",
        "manager",
        "ports",
        "process",
        "rootlesskit",
        "store",
        "systemd",
        "user_kubeconfig",
    ],
    &[
        "authorities",
        "backup",
        "beforehand",
        "boot",
        "cluster",
        "install",
        "join",
        "lifecycle",
        "nodes",
        "snapshot",
        "status",
        "supervise",
        "support",
    ],
    &["cli"],
];

#[test]
fn arrows_only_go_down() {
    let arrows = arrows(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let faults = faults(&arrows, &FLOORS);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // The test really finds arrows.
    assert!(arrows["cli"].contains_key("install") && arrows["pki"].contains_key("kubeconfig"));
}
