//! Waiting for the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::say;
use crate::config::API_PORT;
use crate::error::Result;
use crate::https::Client;
use crate::layout::Layout;

/// How long to wait before asking again. Every question costs the API server a TLS handshake it has no time for now.
const INTERVAL: Duration = Duration::from_secs(1);

/// Waits until `/readyz` says yes, however long it takes. This process must be in the network namespace. It asks as
/// the component of this name, whose certificate may ask for that and little else.
pub(super) fn wait_ready(layout: &Layout, component: &str) -> Result<()> {
    let client = Client::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT.get())),
        &layout.master("ca.pem"),
        &layout.master(&format!("{component}.pem")),
        &layout.master(&format!("{component}-key.pem")),
    )?;
    let started = Instant::now();
    let mut last = String::new();
    loop {
        let state = match client.get("/readyz") {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => error.message().to_owned(),
        };
        if state != last {
            say(format!(
                "waiting for the API server ({:.1} s): {state}",
                started.elapsed().as_secs_f64()
            ));
            last = state;
        }
        thread::sleep(INTERVAL);
    }
    say(format!(
        "the API server is ready after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
