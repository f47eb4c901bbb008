//! The running RootlessKit, asked on its API socket: which ports it publishes, more and fewer of them.
//!
//! The paths and the objects are those of its router (`pkg/api/router`) and its ports (`pkg/port`), version 1 of the API.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Answer, parse};
use crate::config::{PortSpec, Proto};
use crate::error::{Context as _, Error, Kind, Result};
use crate::layout::Layout;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes. A port takes about 120.
const LONGEST: u64 = 4 << 20;

/// The RootlessKit of one installation, whether it runs or not.
#[derive(Debug)]
pub struct Rootlesskit {
    socket: PathBuf,
}

/// A port that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPort {
    /// RootlessKit's number for it.
    pub id: u64,
    /// The port, with its child address.
    pub port: PortSpec,
}

impl Rootlesskit {
    /// That of a layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self {
            socket: layout.rootlesskit().join("api.sock"),
        }
    }

    /// Whether it answers. One that was killed leaves its socket behind.
    #[must_use]
    pub fn is_running(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// The ports that it publishes. Those of other protocols than ours are left out.
    pub fn ports(&self) -> Result<Vec<OpenPort>> {
        let list: Value = serde_json::from_str(&self.ask("GET", "/v1/ports", "")?)
            .map_err(|e| Error::new(Kind::Failed, format!("RootlessKit's list of ports: {e}")))?;
        let ports = list.as_array().into_iter().flatten();
        Ok(ports.filter_map(open_port).collect())
    }

    /// Publishes a port. It is open afterwards. `node_ip` is the cluster's own address.
    pub fn add_port(&self, port: &PortSpec, node_ip: Ipv4Addr) -> Result<()> {
        let version = if port.ip.is_ipv4() { 4 } else { 6 };
        let spec = json!({
            "proto": format!("{}{version}", port.proto.as_str()),
            "parentIP": port.ip,
            "parentPort": port.port,
            "childIP": port.child_ip.unwrap_or(node_ip),
            "childPort": port.child_port,
        });
        self.ask("POST", "/v1/ports", &spec.to_string()).map(drop)
    }

    /// Stops publishing the port with this number.
    pub fn remove(&self, id: u64) -> Result<()> {
        self.ask("DELETE", &format!("/v1/ports/{id}"), "").map(drop)
    }

    /// Stops publishing a port. Does nothing if it is not published.
    pub fn remove_port(&self, port: &PortSpec) -> Result<()> {
        let same = |open: &OpenPort| {
            let key = |port: &PortSpec| (port.ip, port.port, port.proto);
            key(&open.port) == key(port)
        };
        for open in self.ports()?.into_iter().filter(same) {
            self.remove(open.id)?;
        }
        Ok(())
    }

    /// Sends a request, and gives the body of the answer. A refusal is an error with RootlessKit's own words.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let exchange = || -> Result<Answer> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            // With HTTP/1.0, the answer ends when the connection is closed.
            write!(
                stream,
                "{method} {path} HTTP/1.0\r\nHost: rootlesskit\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = Vec::new();
            stream.take(LONGEST).read_to_end(&mut answer)?;
            parse(&answer)
        };
        let answer = exchange().about(|| format!("RootlessKit at `{}`", self.socket.display()))?;
        if matches!(answer.status, 200..=299) {
            return Ok(answer.body);
        }
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let said = said["message"].as_str().map_or_else(
            || format!("it answers {}: {}", answer.status, answer.body.trim()),
            str::to_owned,
        );
        Err(Error::new(Kind::Failed, format!("RootlessKit: {said}"))
            .hint("run `usernetes doctor` to see which process has the port"))
    }
}

/// A port as RootlessKit lists it.
fn open_port(object: &Value) -> Option<OpenPort> {
    let spec = &object["spec"];
    let port = |name: &str| u16::try_from(spec[name].as_u64()?).ok()?.try_into().ok();
    let proto = match spec["proto"].as_str()?.trim_end_matches(['4', '6']) {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        _ => return None,
    };
    let ip = match spec["parentIP"].as_str() {
        None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(ip) => ip.parse().ok()?,
    };
    Some(OpenPort {
        id: object["id"].as_u64()?,
        port: PortSpec {
            ip,
            port: port("parentPort")?,
            child_ip: spec["childIP"].as_str().and_then(|ip| ip.parse().ok()),
            child_port: port("childPort")?,
            proto,
        },
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;

    /// What a played RootlessKit knows.
    #[derive(Debug, Default)]
    pub(crate) struct Played {
        pub(crate) ports: BTreeMap<u64, Value>,
        /// Ports of the host that others have taken.
        pub(crate) taken: Vec<u64>,
        /// The requests, one after the other.
        pub(crate) asked: Vec<String>,
        next: u64,
    }

    /// A RootlessKit that answers on the API socket as the real one does, but opens no ports.
    pub(crate) fn play(layout: &Layout) -> Arc<Mutex<Played>> {
        fs_err::create_dir_all(layout.rootlesskit()).unwrap();
        let listener = UnixListener::bind(layout.rootlesskit().join("api.sock")).unwrap();
        let played = Arc::new(Mutex::new(Played::default()));
        let state = Arc::clone(&played);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    lines.push(line.trim().to_owned());
                }
                // One that only looks whether somebody listens sends nothing.
                let Some(first) = lines.first() else { continue };
                let length = lines
                    .iter()
                    .find_map(|l| l.strip_prefix("Content-Length: "))
                    .unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let request = first.strip_suffix(" HTTP/1.0").unwrap();
                let (status, answer) = state.lock().unwrap().answer(request, &body);
                let mut stream = reader.into_inner();
                write!(stream, "HTTP/1.0 {status} X\r\nA: b\r\n\r\n{answer}").unwrap();
            }
        });
        played
    }

    impl Played {
        fn answer(&mut self, request: &str, body: &str) -> (u16, String) {
            self.asked
                .push(format!("{request} {body}").trim().to_owned());
            let object = |(id, spec): (&u64, &Value)| json!({ "id": id, "spec": spec });
            match request.split_once(' ').unwrap() {
                ("GET", "/v1/ports") => {
                    let list: Vec<_> = self.ports.iter().map(object).collect();
                    (200, json!(list).to_string())
                }
                ("POST", "/v1/ports") => {
                    let spec: Value = serde_json::from_str(body).unwrap();
                    let number = spec["parentPort"].as_u64().unwrap();
                    if self.taken.contains(&number) {
                        let text = format!("listen tcp4 :{number}: bind: address already in use");
                        return (400, json!({ "message": text }).to_string());
                    }
                    self.next += 1;
                    self.ports.insert(self.next, spec.clone());
                    (201, object((&self.next, &spec)).to_string())
                }
                ("DELETE", path) => {
                    let id = path.strip_prefix("/v1/ports/").unwrap().parse().unwrap();
                    match self.ports.remove(&id) {
                        Some(_) => (200, String::new()),
                        None => (400, json!({ "message": "unknown id" }).to_string()),
                    }
                }
                _ => panic!("{request}"),
            }
        }
    }

    pub(crate) fn layout(dir: &std::path::Path) -> Layout {
        let dir = |name: &str| dir.join(name);
        Layout::new(dir("config"), dir("data"), dir("run"), dir("gen")).unwrap()
    }

    #[test]
    fn ports_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let rootlesskit = Rootlesskit::of(&layout);
        assert!(!rootlesskit.is_running());
        let error = rootlesskit.ports().unwrap_err();
        assert!(error.message().contains("api.sock"), "{error}");
        let played = play(&layout);
        assert!(rootlesskit.is_running());
        let node_ip = Ipv4Addr::new(10, 0, 42, 100);
        let port: PortSpec = "[::]:30080:30080/tcp".parse().unwrap();
        rootlesskit.add_port(&port, node_ip).unwrap();
        let open = rootlesskit.ports().unwrap();
        assert_eq!(open.len(), 1);
        assert!(open[0].port.is_same_way(&port, node_ip));
        assert_eq!(
            played.lock().unwrap().asked[0],
            r#"POST /v1/ports {"childIP":"10.0.42.100","childPort":30080,"parentIP":"::","parentPort":30080,"proto":"tcp6"}"#
        );
        rootlesskit.remove_port(&port).unwrap();
        assert_eq!(rootlesskit.ports().unwrap(), []);
        played.lock().unwrap().taken.push(30080);
        let error = rootlesskit.add_port(&port, node_ip).unwrap_err();
        insta::assert_snapshot!(error, @r"
        RootlessKit: listen tcp4 :30080: bind: address already in use

        hint: run `usernetes doctor` to see which process has the port
        ");
    }

    #[test]
    fn ports_that_somebody_else_added_are_read_too() {
        let port = |spec: Value| open_port(&json!({ "id": 7, "spec": spec })).map(|o| o.port);
        let plain = json!({ "proto": "tcp", "parentPort": 80, "childPort": 8080 });
        assert_eq!(port(plain).unwrap().to_string(), "0.0.0.0:80:8080/tcp");
        let udp = json!({ "proto": "udp4", "parentIP": "192.0.2.7", "parentPort": 53, "childIP": "10.0.42.100", "childPort": 53 });
        assert_eq!(
            port(udp).unwrap().to_string(),
            "192.0.2.7:53:10.0.42.100:53/udp"
        );
        assert_eq!(
            port(json!({ "proto": "sctp", "parentPort": 80, "childPort": 80 })),
            None
        );
    }
}
