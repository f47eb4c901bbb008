//! Hollow nodes: one process of `kubemark` for each.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use reqwest::Method;
use stub::child;
use stub::error::{Context as _, Result};
use tempfile::TempDir;

use crate::api::Api;
use crate::machine::Usage;

/// The label and the taint of hollow nodes, and the label of the namespaces with their pods.
pub(crate) const LABEL: &str = "usernetes-scale";
/// All nodes with that label.
const NODES: &str = "/api/v1/nodes?labelSelector=usernetes-scale%3Dhollow";
/// How many pods a kubelet takes unless it is told otherwise.
const USUAL_PODS: u16 = 110;

/// The processes. They end with this value.
#[derive(Debug)]
pub(crate) struct Hollow {
    kubemark: PathBuf,
    kubeconfig: PathBuf,
    directory: TempDir,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    process: Child,
    log: PathBuf,
}

impl Hollow {
    /// Starts nothing yet.
    pub(crate) fn new(kubemark: &Path, kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            kubemark: fs::canonicalize(kubemark)?,
            kubeconfig: fs::canonicalize(kubeconfig)?,
            directory: tempfile::tempdir()?,
            nodes: Vec::new(),
        })
    }

    /// Starts nodes until there are so many, each for at least so many pods.
    pub(crate) fn grow(&mut self, count: u16, pods: u16) -> Result<()> {
        for number in self.nodes.len()..count.into() {
            let log = self.directory.path().join(format!("{number}.log"));
            let (out, _) = fs::File::create(&log)?.into_parts();
            let mut command = Command::new(&self.kubemark);
            command
                .arg("--morph=kubelet")
                .arg(format!("--name=hollow-node-{number}"))
                .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
                .arg(format!("--kubelet-port={}", free_port()?))
                .arg("--kubelet-read-only-port=0")
                .arg(format!("--node-labels={LABEL}=hollow"))
                .arg(format!("--register-with-taints={LABEL}=hollow:NoSchedule"))
                .arg(format!(
                    "--max-pods={}",
                    USUAL_PODS.max(pods.saturating_add(10))
                ))
                .arg("--use-host-image-service=false")
                .stdin(Stdio::null())
                .stdout(out.try_clone()?)
                .stderr(out);
            child::announce(&command);
            let process = command.spawn().about(|| self.kubemark.display())?;
            self.nodes.push(Node { process, log });
        }
        Ok(())
    }

    /// The last words of the processes that have ended by themselves.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let ended = self.nodes.iter_mut().filter_map(|node| {
            let status = node.process.try_wait().ok().flatten()?;
            let log = fs::read(&node.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let last = log.lines().next_back().unwrap_or("nothing");
            Some(format!("{status}: {last}"))
        });
        ended.collect()
    }

    /// What all processes use.
    pub(crate) fn usage(&self) -> Usage {
        let all = self
            .nodes
            .iter()
            .map(|node| Usage::of_process(node.process.id()));
        all.fold(Usage::default(), Usage::plus)
    }

    /// Ends the processes, and removes the directories that they leave.
    pub(crate) fn end(&mut self) {
        for node in &mut self.nodes {
            // It has ended already, or it is ended now.
            let _ = node.process.kill();
            let _ = node.process.wait();
            let log = fs::read(&node.log).unwrap_or_default();
            if let Some(directory) = directory(&String::from_utf8_lossy(&log)) {
                let _ = fs::remove_dir_all(directory);
            }
        }
        self.nodes.clear();
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many hollow nodes are ready.
pub(crate) fn ready(api: &Api) -> Result<usize> {
    let nodes = api.items(NODES)?;
    let ready = nodes.iter().filter(|node| {
        let conditions = node["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    Ok(ready.count())
}

/// Removes the nodes from the cluster.
pub(crate) fn forget(api: &Api) -> Result<()> {
    api.send(&Method::DELETE, NODES, None).map(drop)
}

/// A port at which nobody listens.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The directory that a node has made for itself. It does not remove it, and puts it into `/tmp` whatever `TMPDIR` says.
fn directory(log: &str) -> Option<&Path> {
    let (_, rest) = log.split_once("] Using ")?;
    let (directory, _) = rest.split_once(" as root dir for hollow-kubelet")?;
    let directory = Path::new(directory);
    let name = directory.file_name()?.to_str()?;
    let own = name.starts_with("hollow-kubelet.") && directory.is_absolute();
    own.then_some(directory)
}

#[cfg(test)]
mod tests {
    use support::program::write_program;
    use support::server::Server;

    use super::*;
    use crate::api::tests::played;

    /// A program that says what a node says, and waits, or ends if it is told so.
    fn hollow(dir: &Path, script: &str) -> Hollow {
        fs::write(dir.join("kubeconfig"), "").unwrap();
        write_program(&dir.join("kubemark"), format!("#!/bin/sh\n{script}\n"));
        Hollow::new(&dir.join("kubemark"), &dir.join("kubeconfig")).unwrap()
    }

    #[test]
    fn nodes_are_started_once_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("hollow-kubelet.1");
        fs::create_dir(&root).unwrap();
        let said = dir.path().join("said");
        let script = format!(
            "echo \"$@\" >>{}\necho \"I a.go:1] Using {} as root dir for hollow-kubelet\"\nexec sleep 600",
            said.display(),
            root.display()
        );
        let mut hollow = hollow(dir.path(), &script);
        hollow.grow(1, 30).unwrap();
        hollow.grow(3, 300).unwrap();
        let lines = || {
            fs::read_to_string(&said)
                .unwrap_or_default()
                .lines()
                .count()
        };
        while lines() < 3 || hollow.usage().kib == 0.0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(hollow.ended().is_empty());
        let mut lines: Vec<_> = fs::read_to_string(&said)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        assert!(lines[0].contains("--name=hollow-node-0 ") && lines[0].contains("--max-pods=110 "));
        assert!(lines[2].contains("--name=hollow-node-2 ") && lines[2].contains("--max-pods=310 "));
        let process = format!("/proc/{}", hollow.nodes[0].process.id());
        drop(hollow);
        assert!(!Path::new(&process).exists());
        assert!(!root.exists());
    }

    #[test]
    fn a_node_that_ends_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let mut hollow = hollow(dir.path(), "echo first\necho no kubeconfig >&2\nexit 3");
        hollow.grow(1, 1).unwrap();
        let ended = loop {
            let ended = hollow.ended();
            if !ended.is_empty() {
                break ended;
            }
        };
        assert_eq!(ended, ["exit status: 3: no kubeconfig"]);
    }

    #[test]
    fn only_a_nodes_own_directory_is_removed() {
        let log =
            |path: &str| format!("I1 a.go:1] Using {path} as root dir for hollow-kubelet\nmore");
        let found = |path: &str| directory(&log(path)).map(Path::to_owned);
        let own = "/tmp/hollow-kubelet.12";
        assert_eq!(found(own).as_deref(), Some(Path::new(own)));
        for other in [
            "/",
            "/home",
            "hollow-kubelet.12",
            "/tmp/hollow-kubelet.12/..",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(directory("nothing"), None);
    }

    #[test]
    fn ready_nodes_are_counted() {
        let server = Server::start();
        let node = |status: &str| {
            format!(
                r#"{{"status": {{"conditions": [{{"type": "Ready", "status": "{status}"}}]}}}}"#
            )
        };
        let list = format!(
            r#"{{"items": [{}, {}, {{}}]}}"#,
            node("True"),
            node("Unknown")
        );
        server.good("/api/v1/nodes", list.as_bytes());
        let api = played(&server);
        assert_eq!(ready(&api).unwrap(), 1);
        forget(&api).unwrap();
        let path = "/api/v1/nodes?labelSelector=usernetes-scale%3Dhollow";
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.path == path));
        assert_eq!(requests[1].method, "DELETE");
    }
}
