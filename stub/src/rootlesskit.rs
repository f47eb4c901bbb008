//! The running RootlessKit, asked through its own program `rootlessctl`: which ports it publishes, more and fewer of them.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::child;
use crate::config::PortSpec;
use crate::error::{Context as _, Result};
use crate::layout::Layout;

/// The RootlessKit of one installation, whether it runs or not.
#[derive(Debug)]
pub struct Rootlesskit {
    program: PathBuf,
    socket: PathBuf,
}

impl Rootlesskit {
    /// That of a layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self {
            program: layout.program("rootlessctl"),
            socket: layout.rootlesskit().join("api.sock"),
        }
    }

    /// Whether it answers. One that was killed leaves its socket behind.
    #[must_use]
    pub fn is_running(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// Publishes a port, in the form of [`PortSpec::for_rootlesskit`]. The port is open afterwards.
    pub fn add_port(&self, spec: &str) -> Result<()> {
        self.control(&["add-ports", spec]).map(drop)
    }

    /// Stops publishing a port. Does nothing if it is not published.
    pub fn remove_port(&self, port: &PortSpec) -> Result<()> {
        for id in ids(&self.control(&["list-ports", "--json"])?, port) {
            self.control(&["remove-ports", &id.to_string()])?;
        }
        Ok(())
    }

    /// Those of some ports that it does not publish.
    pub fn lacks(&self, ports: &[PortSpec]) -> Result<Vec<PortSpec>> {
        let list = self.control(&["list-ports", "--json"])?;
        let lacking = ports.iter().filter(|port| ids(&list, port).is_empty());
        Ok(lacking.copied().collect())
    }

    fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments);
        let text = child::run(&mut command)?.success();
        text.hint(|| "run `usernetes doctor` to see which process has the port".to_owned())
    }
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
