//! The pod networks: the configuration and the objects that each adds to a cluster. Their services are in the table of
//! services.
//!
//! Facts about a network that the configuration needs are in [`Cni`]. To add a network, add its name and its facts
//! there, a module here and its line in `network()`, and rows for its services to the table of services.

pub mod bridge;
pub mod flannel;

use serde_json::Value;

pub use bridge::Bridge;

use crate::config::{Cni, Config};

/// A pod network.
struct Network {
    /// The network of this node's pods, if that is known before any service runs.
    at_start: fn(&Config) -> Option<Bridge>,
    /// The objects that its services need in the cluster.
    objects: fn() -> Vec<Value>,
}

fn network(cni: Cni) -> Network {
    match cni {
        Cni::Bridge => Network {
            at_start: |config| Some(bridge::alone(config)),
            objects: Vec::new,
        },
        Cni::Flannel => Network {
            // flannel's daemon learns it from the API server.
            at_start: |_| None,
            objects: flannel::objects,
        },
    }
}

/// The network of this node's pods, if that is known before any service runs.
#[must_use]
pub fn at_start(config: &Config) -> Option<Bridge> {
    (network(config.cni).at_start)(config)
}

/// The objects that the pod network's services need in the cluster.
#[must_use]
pub fn objects(config: &Config) -> Vec<Value> {
    (network(config.cni).objects)()
}
