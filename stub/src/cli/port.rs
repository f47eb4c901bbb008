//! `port publish|unpublish|list`

use std::os::unix::net::UnixStream;
use std::process::Command;

use clap::Subcommand;
use serde_json::Value;

use super::output::{print, table};
use crate::cluster::Current;
use crate::config::{Config, PortSpec};
use crate::error::{Context as _, Error, Kind, Result};
use crate::progress::Progress;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Port {
    /// Publish a port now, and keep it published
    Publish {
        /// The port, for example 0.0.0.0:30080:30080/tcp
        #[arg(value_name = "IP:PORT:CHILDPORT/PROTO")]
        port: PortSpec,
    },
    /// Stop publishing a port
    Unpublish {
        /// The port, as `port list` shows it
        #[arg(value_name = "IP:PORT:CHILDPORT/PROTO")]
        port: PortSpec,
    },
    /// List the published ports, one per line
    List,
}

impl Port {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List)
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let store = Store::open_default()?.locked()?;
        let current = Current::read()?;
        match self {
            Self::List => list(&current),
            Self::Publish { port } => publish(&store, &current, port, progress),
            Self::Unpublish { port } => unpublish(&store, &current, port),
        }
    }
}

fn list(current: &Current) -> Result<()> {
    let ports = current.config.publish.iter();
    let lines: Vec<_> = ports.map(|p| vec![p.to_string()]).collect();
    print(&table(&lines, &[]))
}

fn publish(store: &Store, current: &Current, port: &PortSpec, progress: &Progress) -> Result<()> {
    // The running cluster may use an older configuration than the one in the file.
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    if published(&applied, port) && published(&written, port) {
        progress.line(format!("{port} is already published"));
        return Ok(());
    }
    let new = !published(&applied, port);
    for config in [&mut applied, &mut written] {
        if !published(config, port) {
            config.publish.push(*port);
        }
        config.check()?;
    }
    // The steps that can fail come first: a key may be damaged, another program may have the port.
    current.check_pki(&applied)?;
    if new && is_running(current) {
        let spec = port.for_rootlesskit(applied.node_ip());
        rootlessctl(current, &["add-ports", &spec])?;
    }
    current.set_config(&written, &applied)?;
    if current.ensure_pki(&applied)?.serves_api() {
        progress.line(
            "the API server has a new certificate with this address and will load it within a minute",
        );
    }
    Ok(())
}

fn unpublish(store: &Store, current: &Current, port: &PortSpec) -> Result<()> {
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    if !published(&applied, port) && !published(&written, port) {
        let list: Vec<_> = applied.publish.iter().map(ToString::to_string).collect();
        return Err(
            Error::new(Kind::Usage, format!("{port} is not published")).expected(list.join(", "))
        );
    }
    for config in [&mut applied, &mut written] {
        let node_ip = config.node_ip();
        config.publish.retain(|p| !p.is_same_way(port, node_ip));
        config.check()?;
    }
    if is_running(current) {
        for id in ids(&rootlessctl(current, &["list-ports", "--json"])?, port) {
            rootlessctl(current, &["remove-ports", &id.to_string()])?;
        }
    }
    current.set_config(&written, &applied)
}

/// Whether a configuration publishes a port, with its child address written or not.
fn published(config: &Config, port: &PortSpec) -> bool {
    let node_ip = config.node_ip();
    config.publish.iter().any(|p| p.is_same_way(port, node_ip))
}

fn is_running(current: &Current) -> bool {
    // A RootlessKit that was killed leaves its socket behind.
    UnixStream::connect(current.layout.rootlesskit().join("api.sock")).is_ok()
}

fn rootlessctl(current: &Current, arguments: &[&str]) -> Result<String> {
    let program = current.program("rootlessctl")?;
    let socket = current.layout.rootlesskit().join("api.sock");
    let mut command = Command::new(&program);
    let output = command.arg("--socket").arg(socket).args(arguments).output();
    let output = output.about(|| program.display().to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(
        Kind::Failed,
        format!("`rootlessctl {}` failed", arguments.join(" ")),
    )
    .detail("said", said.trim())
    .hint("run `usernetes doctor` to see which process has the port"))
}

/// The numbers that RootlessKit gave to a port, from its list of JSON objects with `id` and `spec`.
fn ids(list: &str, port: &PortSpec) -> Vec<u64> {
    let wanted = |object: &Value| {
        let spec = &object["spec"];
        spec["proto"]
            .as_str()
            .is_some_and(|proto| proto.starts_with(port.proto.as_str()))
            && spec["parentIP"]
                .as_str()
                .is_none_or(|ip| ip.parse() == Ok(port.ip))
            && spec["parentPort"] == port.port.get()
    };
    // One object a line, or an array of them: both are a stream of JSON values.
    let values = serde_json::Deserializer::from_str(list)
        .into_iter::<Value>()
        .filter_map(Result::ok);
    let objects = values.flat_map(|value| match value {
        Value::Array(objects) => objects,
        object => vec![object],
    });
    objects
        .filter(wanted)
        .filter_map(|object| object["id"].as_u64())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_either_form_of_list() {
        let port: PortSpec = "0.0.0.0:30080:30080/tcp".parse().unwrap();
        let one = r#"{"id":2,"spec":{"proto":"tcp","parentIP":"0.0.0.0","parentPort":30080,"childPort":30080}}"#;
        let other = r#"{"id":1,"spec":{"proto":"tcp4","parentIP":"127.0.0.1","parentPort":6443,"childPort":6443}}"#;
        assert_eq!(ids(&format!("{other}\n{one}\n"), &port), [2]);
        assert_eq!(ids(&format!("[{other},{one}]"), &port), [2]);
        assert_eq!(ids("", &port), Vec::<u64>::new());
        // With its child address, which earlier releases did not tell RootlessKit.
        let port = PortSpec::API.for_rootlesskit([10, 0, 42, 100].into());
        assert_eq!(ids(other, &port.parse().unwrap()), [1]);
    }
}
