//! `u7s-api-proxy`, on a worker: it accepts connections at 127.0.0.1 in the namespace and leads them to an API server that
//! answers. So the kubelet, kube-proxy and flannel use the same address all the time, whichever API servers there are.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::api::Client;
use crate::cluster::{self, endpoints, remember_endpoints};
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::layout::{Kubeconfig, Layout};
use crate::process::notify::notify;
use crate::process::say;

/// How long an API server may take to accept a connection before the next one is tried.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often the API servers are asked which of them there are.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often the one in use is asked whether it is ready, and how often in a row it may fail to be.
const WATCH: Duration = Duration::from_secs(4);
const FAILURES: u32 = 2;
/// Where they say it: the API servers keep this list themselves.
const LIST: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?limit=100&labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes";

/// The API servers, and the connections to them.
#[derive(Default)]
struct State {
    /// The one that answered last is the first.
    all: Vec<SocketAddrV4>,
    /// Both sides of each connection.
    open: Vec<(SocketAddrV4, Weak<[TcpStream; 2]>)>,
}

type Endpoints = Arc<Mutex<State>>;

/// Forwards connections until the process is told to stop. It must be in the network namespace.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.machines.api_port.get()));
    let listener = TcpListener::bind(address).about(|| address)?;
    let state = Endpoints::default();
    lock(&state).all = endpoints(layout, config);
    notify("READY=1")?;
    let (of_refresh, own, config) = (Arc::clone(&state), layout.clone(), config.clone());
    thread::spawn(move || refresh(&own, &config, &of_refresh));
    let (of_watch, own) = (Arc::clone(&state), layout.clone());
    thread::spawn(move || watch(&own, &of_watch));
    for client in listener.incoming() {
        match client {
            Ok(client) => {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(client, &state));
            }
            // Too many open files, for example. Connections end, and then there are fewer.
            Err(error) => {
                say(format!("cannot accept a connection: {error}"));
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
    Ok(0)
}

/// Serves one connection to its end.
fn serve(client: TcpStream, state: &Endpoints) {
    let Some((endpoint, server)) = connect(state) else {
        // The client gets the end of its connection, and tries again.
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let both = Arc::new([client, server]);
    {
        let mut state = lock(state);
        state.open.retain(|(_, both)| both.strong_count() > 0);
        state.open.push((endpoint, Arc::downgrade(&both)));
    }
    let [client, server] = &*both;
    thread::scope(|scope| {
        scope.spawn(|| pass(client, server));
        pass(server, client);
    });
}

/// Passes bytes on until one side ends. Then both connections end: no client of the API server closes only one direction, and
/// the other thread would wait for a server that may never speak again.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    for side in [from, to] {
        let _ = side.shutdown(Shutdown::Both);
    }
}

/// Connects to the first API server that accepts a connection. It is the first one the next time, too.
fn connect(state: &Endpoints) -> Option<(SocketAddrV4, TcpStream)> {
    let known = lock(state).all.clone();
    for endpoint in known {
        if let Ok(stream) = TcpStream::connect_timeout(&endpoint.into(), PATIENCE) {
            let mut state = lock(state);
            if state.all.first() != Some(&endpoint)
                && let Some(place) = state.all.iter().position(|e| *e == endpoint)
            {
                state.all[..=place].rotate_right(1);
                say(format!("the API server at {endpoint} answers"));
            }
            return Some((endpoint, stream));
        }
    }
    None
}

fn lock(state: &Endpoints) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after the first API server, if there are several. One whose machine is down, or whose etcd does not answer, accepts
/// connections or says nothing for a long time.
fn watch(layout: &Layout, state: &Endpoints) {
    let mut failures = 0;
    loop {
        thread::sleep(WATCH);
        let first = match lock(state).all.as_slice() {
            [first, _, ..] => *first,
            _ => continue,
        };
        failures = if is_ready(layout, first) {
            0
        } else {
            failures + 1
        };
        if failures == FAILURES {
            failures = 0;
            leave(state, first);
        }
    }
}

fn is_ready(layout: &Layout, endpoint: SocketAddrV4) -> bool {
    // It fails sooner than the client does.
    if TcpStream::connect_timeout(&endpoint.into(), PATIENCE).is_err() {
        return false;
    }
    let answer = Client::new(endpoint.into(), layout, Kubeconfig::Kubelet)
        .and_then(|client| client.get("/readyz"));
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Makes the next API server the first one, and ends the connections to this one, so that their clients connect again at once.
fn leave(state: &Endpoints, endpoint: SocketAddrV4) {
    let mut state = lock(state);
    if state.all.first() == Some(&endpoint) {
        state.all.rotate_left(1);
    }
    say(format!("the API server at {endpoint} is not ready"));
    let gone = state.open.extract_if(.., |(to, _)| *to == endpoint);
    for both in gone.filter_map(|(_, both)| both.upgrade()) {
        for stream in both.iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Learns of further API servers, and keeps the list for the next start.
fn refresh(layout: &Layout, config: &Config, state: &Endpoints) {
    let mut on_disk = endpoints(layout, config);
    loop {
        thread::sleep(INTERVAL);
        // `join --endpoint` may have written others.
        let now_on_disk = cluster::applied(layout).map(|config| endpoints(layout, &config));
        let known = match now_on_disk {
            Ok(now) if now != on_disk => {
                on_disk.clone_from(&now);
                lock(state).all.clone_from(&now);
                now
            }
            _ => lock(state).all.clone(),
        };
        let Some(found) = known.iter().find_map(|endpoint| ask(layout, *endpoint)) else {
            continue;
        };
        let next = merged(&known, &found);
        if next == known {
            continue;
        }
        match remember_endpoints(layout, &next) {
            Ok(()) => on_disk = endpoints(layout, config),
            Err(error) => say(format!("cannot keep the list of API servers: {error}")),
        }
        let list: Vec<_> = next.iter().map(ToString::to_string).collect();
        say(format!("the API servers are {}", list.join(", ")));
        lock(state).all = next;
    }
}

/// The present order, without those that are gone, then those that are new.
fn merged(known: &[SocketAddrV4], found: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let kept = known.iter().filter(|endpoint| found.contains(endpoint));
    let new = found.iter().filter(|endpoint| !known.contains(endpoint));
    kept.chain(new).copied().collect()
}

/// The API servers that one of them knows; `None` if it does not say.
fn ask(layout: &Layout, endpoint: SocketAddrV4) -> Option<Vec<SocketAddrV4>> {
    let client = Client::new(endpoint.into(), layout, Kubeconfig::Kubelet).ok()?;
    let answer = client
        .get(LIST)
        .ok()
        .filter(|answer| answer.status == 200)?;
    let found = read(&serde_json::from_str(&answer.body).ok()?);
    (!found.is_empty()).then_some(found)
}

/// The addresses in a list of endpoint slices.
fn read(list: &Value) -> Vec<SocketAddrV4> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for slice in array(&list["items"]) {
        for port in array(&slice["ports"]) {
            let Some(port) = port["port"].as_u64().and_then(|p| u16::try_from(p).ok()) else {
                continue;
            };
            for endpoint in array(&slice["endpoints"]) {
                let addresses = array(&endpoint["addresses"]).into_iter();
                let addresses = addresses.filter_map(|a| a.as_str()?.parse().ok());
                found.extend(addresses.map(|address| SocketAddrV4::new(address, port)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use serde_json::json;

    fn address(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn the_list_of_the_api_servers_is_read_and_merged() {
        let list = json!({ "items": [{
            "ports": [{ "name": "https", "port": 6443 }],
            "endpoints": [{ "addresses": ["192.0.2.1"] }, { "addresses": ["192.0.2.3"] }],
        }]});
        let found = read(&list);
        assert_eq!(
            found,
            [address("192.0.2.1:6443"), address("192.0.2.3:6443")]
        );
        let known = [address("192.0.2.2:6443"), address("192.0.2.3:6443")];
        assert_eq!(
            merged(&known, &found),
            [address("192.0.2.3:6443"), address("192.0.2.1:6443")]
        );
        assert_eq!(read(&json!({ "kind": "Status" })), []);
    }

    fn v4(listener: &TcpListener) -> SocketAddrV4 {
        match listener.local_addr().unwrap() {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => unreachable!(),
        }
    }

    /// A client of the proxy, and the thread that serves it.
    fn client(state: &Endpoints) -> (TcpStream, thread::JoinHandle<()>) {
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(front.local_addr().unwrap()).unwrap();
        let (accepted, _) = front.accept().unwrap();
        let state = Arc::clone(state);
        (client, thread::spawn(move || serve(accepted, &state)))
    }

    /// The first endpoint does not answer; the second one sends back what it gets.
    #[test]
    fn a_connection_leads_to_a_server_that_answers() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, second) = (v4(&closed), v4(&echo));
        drop(closed);
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let state = Endpoints::default();
        lock(&state).all = vec![first, second];
        let (mut client, serving) = client(&state);
        client.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"hello");
        serving.join().unwrap();
        assert_eq!(lock(&state).all.first(), Some(&second));
    }

    /// The API server accepts connections and says nothing, like one without etcd.
    #[test]
    fn connections_to_an_api_server_that_is_left_end() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = v4(&silent);
        let second = address("192.0.2.1:6443");
        let state = Endpoints::default();
        lock(&state).all = vec![first, second];
        let (mut client, serving) = client(&state);
        let (_held, _) = silent.accept().unwrap();
        while lock(&state).open.is_empty() {
            thread::yield_now();
        }
        leave(&state, first);
        assert_eq!(lock(&state).all, [second, first]);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        serving.join().unwrap();
        assert!(answer.is_empty());
    }
}
