//! Waits for the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::api::{Answer, Client, apply};
use crate::components::rbac;
use crate::config::Config;
use crate::error::Result;
use crate::layout::{Kubeconfig, Layout};
use crate::nodes;
use crate::process::notify::Wait;
use crate::process::say;

/// Where the API server listens in the network namespace. On a worker, a forwarder listens there.
fn server(config: &Config) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, config.machines.api_port.get()))
}

/// How long to wait before asking again. Each request costs the API server a TLS handshake, and it is busy while it starts; but
/// every service of the node begins to load only when it is ready.
const INTERVAL: Duration = Duration::from_millis(400);

/// Waits until `/readyz` succeeds, without a limit. This process must be in the network namespace. Every component is allowed
/// to ask for `/readyz`.
pub(super) fn wait_ready(layout: &Layout, config: &Config, identity: Kubeconfig) -> Result<()> {
    let ready = |answer: &Answer| answer.status == 200;
    wait(
        layout,
        config,
        identity,
        ("the API server", "/readyz"),
        ready,
    )
}

/// Waits until this machine's etcd has a vote among its members, without a limit. Before that it refuses all requests, and the API
/// server would start again and again and take the processors that etcd needs to catch up.
pub(super) fn wait_vote(layout: &Layout) -> Result<()> {
    let has_vote = || nodes::own_member(layout).map(|own| own.is_none_or(|own| own.promoted));
    if has_vote()? {
        return Ok(());
    }
    let mut wait = Wait::begin("a vote for this machine's etcd");
    while !has_vote()? {
        wait.goes_on("`usernetes join` gives it one as soon as it has all data")?;
        thread::sleep(INTERVAL);
    }
    wait.end()
}

/// Applies the roles of our components, once the API server is ready. `start` does this from outside, but cannot if the API
/// server is not published on this machine. This process must be in the network namespace.
pub(super) fn apply_roles(layout: &Layout, config: &Config) {
    let complaint = Client::new(server(config), layout, Kubeconfig::Admin)
        .and_then(|client| apply(&client, &rbac::objects(config)))
        .unwrap_or_else(|error| Some(error.message().to_owned()));
    if let Some(complaint) = complaint {
        say(format!(
            "cannot apply the roles of the components: {complaint}"
        ));
    }
}

/// Waits until the node has been assigned a network for its pods. The identity must be allowed to read nodes.
pub(super) fn wait_pod_network(
    layout: &Layout,
    config: &Config,
    identity: Kubeconfig,
) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", config.node_name);
    let what = "a network for this node's pods";
    wait(layout, config, identity, (what, &path), |answer| {
        answer.status == 200
            && serde_json::from_str::<Value>(&answer.body)
                .is_ok_and(|node| node["spec"]["podCIDR"].is_string())
    })
}

fn wait(
    layout: &Layout,
    config: &Config,
    identity: Kubeconfig,
    (what, path): (&'static str, &str),
    good: impl Fn(&Answer) -> bool,
) -> Result<()> {
    let mut wait = Wait::begin(what);
    loop {
        // The certificate may be renewed meanwhile.
        let asked =
            Client::new(server(config), layout, identity).and_then(|client| client.get(path));
        let state = match asked {
            Ok(answer) if good(&answer) => break,
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => error.message().to_owned(),
        };
        wait.goes_on(&state)?;
        thread::sleep(INTERVAL);
    }
    wait.end()
}
