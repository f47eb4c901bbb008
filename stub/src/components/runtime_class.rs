//! Runtime classes, with which a pod chooses the program that runs its containers.

use serde_json::{Value, json};

use crate::config::{Config, Cri};

/// The objects to apply once the API server is ready: one for each OCI runtime that the container runtime knows. The first is
/// also the one of pods that do not choose.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    let handlers: &[&str] = match config.cri {
        Cri::Containerd => &["crun", "runc"],
        Cri::Crio => &["crun"],
        Cri::None => &[],
    };
    let class = |handler| {
        json!({
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": { "name": handler },
            "handler": handler,
        })
    };
    handlers.iter().map(class).collect()
}
