//! Checks that the bundle's etcd works with the certificates the bundle made, and refuses a client without one.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use stub::child;
use stub::error::{Error, Kind, Result};

use super::server::{LAUNCH, LAUNCHER, Server, free_port};

/// How long etcd may take to answer. It needs a second or two.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts etcd on a free loopback port, asks for its health as a client with our certificate, then as one without,
/// and ends it. `home` is the throw-away home of an installed bundle.
pub(super) fn health(home: &Path, command: impl Fn(&Path) -> Command) -> Result<String> {
    let master = home.join(".config/usernetes/master");
    let bin = home.join(".local/share/usernetes/current/bin");
    let port = free_port()?;
    let client = format!("https://127.0.0.1:{port}");
    let peer = format!("https://127.0.0.1:{}", free_port()?);

    let mut server = command(Path::new(LAUNCHER));
    server.args(LAUNCH).arg(bin.join("etcd"));
    server.args([
        "--name=demo",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        "--log-level=error",
    ]);
    server.arg(flag("--data-dir", &home.join("etcd")));
    for (name, file) in [
        ("--cert-file", "etcd.pem"),
        ("--key-file", "etcd-key.pem"),
        ("--trusted-ca-file", "etcd-ca.pem"),
        ("--peer-cert-file", "etcd-peer.pem"),
        ("--peer-key-file", "etcd-peer-key.pem"),
        ("--peer-trusted-ca-file", "etcd-ca.pem"),
    ] {
        server.arg(flag(name, &master.join(file)));
    }
    server.arg(format!("--listen-client-urls={client}"));
    server.arg(format!("--advertise-client-urls={client}"));
    server.arg(format!("--listen-peer-urls={peer}"));
    server.arg(format!("--initial-advertise-peer-urls={peer}"));
    server.arg(format!("--initial-cluster=demo={peer}"));
    let mut server = Server::start(&mut server)?;

    let ask = |certificate: bool| {
        let mut etcdctl = command(&bin.join("etcdctl"));
        etcdctl
            .arg(format!("--endpoints={client}"))
            .arg(flag("--cacert", &master.join("etcd-ca.pem")));
        if certificate {
            etcdctl.arg(flag("--cert", &master.join("etcd-client.pem")));
            etcdctl.arg(flag("--key", &master.join("etcd-client-key.pem")));
        }
        etcdctl.args(["--command-timeout=3s", "endpoint", "health"]);
        child::run(&mut etcdctl)
    };
    let started = Instant::now();
    loop {
        let answer = ask(true)?;
        if answer.status.success() {
            break;
        }
        let ended = server.ended()?;
        if ended.is_some() || started.elapsed() > PATIENCE {
            return Err(Error::new(Kind::Failed, "etcd is not healthy")
                .detail("etcdctl", answer.said())
                .detail(
                    "etcd",
                    ended.map_or("still running".to_owned(), |s| s.to_string()),
                ));
        }
        thread::sleep(Duration::from_millis(200));
    }
    if ask(false)?.status.success() {
        return Err(Error::new(
            Kind::Integrity,
            "etcd answered a client that has no certificate",
        ));
    }
    Ok("healthy over TLS; refuses a client without a certificate".to_owned())
}

fn flag(name: &str, value: &Path) -> String {
    format!("{name}={}", value.display())
}
