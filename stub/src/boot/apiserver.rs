//! Waits for the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::api::{Answer, Client};
use crate::config::API_PORT;
use crate::error::Result;
use crate::layout::Layout;
use crate::process::notify::Wait;

/// How long to wait before asking again. Each request costs the API server a TLS handshake, and it is busy while it starts.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until `/readyz` succeeds, without a limit. This process must be in the network namespace. `certificate` is the path
/// of the certificate with which to ask, without `.pem`. Every component's certificate is allowed to ask for `/readyz`.
pub(super) fn wait_ready(layout: &Layout, certificate: &Path) -> Result<()> {
    wait(layout, certificate, "the API server", "/readyz", |answer| {
        answer.status == 200
    })
}

/// Waits until the node has been assigned a network for its pods. The certificate must be allowed to read nodes.
pub(super) fn wait_pod_network(layout: &Layout, certificate: &Path, node: &str) -> Result<()> {
    let path = format!("/api/v1/nodes/{node}");
    let what = "a network for this node's pods";
    wait(layout, certificate, what, &path, |answer| {
        answer.status == 200
            && serde_json::from_str::<Value>(&answer.body)
                .is_ok_and(|node| node["spec"]["podCIDR"].is_string())
    })
}

fn wait(
    layout: &Layout,
    certificate: &Path,
    what: &'static str,
    path: &str,
    good: impl Fn(&Answer) -> bool,
) -> Result<()> {
    let file = |suffix: &str| {
        let mut name = certificate.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let client = Client::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT.get())),
        &layout.node("ca.pem"),
        &file(".pem"),
        &file("-key.pem"),
    )?;
    let mut wait = Wait::begin(what);
    loop {
        let state = match client.get(path) {
            Ok(answer) if good(&answer) => break,
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => error.message().to_owned(),
        };
        wait.goes_on(&state)?;
        thread::sleep(INTERVAL);
    }
    wait.end()
}
