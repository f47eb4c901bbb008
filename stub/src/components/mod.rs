//! What every component is started with: its command line and its configuration files.
//!
//! Each module is one component. `args` gives the whole command line, the program's absolute path first; `files` gives
//! the configuration files it needs, with their contents. Nothing here touches the machine: `boot` probes, writes the
//! files and runs the commands.

pub mod cni;
pub mod containerd;
pub mod coredns;
pub mod crio;
pub mod etcd;
pub mod flannel;
pub mod kube_apiserver;
pub mod kube_controller_manager;
pub mod kube_proxy;
pub mod kube_scheduler;
pub mod kubelet;
pub mod rbac;
pub mod rootlesskit;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::Cri;
use crate::layout::Layout;

/// A configuration file: where it lies and what it says. It ends with a line feed.
pub type ConfigFile = (PathBuf, String);

/// The process behind a unit; its name is the argument of `boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// RootlessKit, with the container runtime as its child.
    Rootlesskit,
    /// etcd.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controller manager.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The kubelet.
    Kubelet,
    /// kube-proxy.
    KubeProxy,
    /// flannel's daemon.
    Flanneld,
}

impl Daemon {
    /// All there are, in the order they start.
    pub const ALL: [Self; 8] = [
        Self::Rootlesskit,
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Flanneld,
    ];

    /// Its name, which is also its program's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rootlesskit => "rootlesskit",
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Flanneld => "flanneld",
        }
    }
}

/// Where the container runtime answers; where there is none, where containerd would.
#[must_use]
pub fn cri_socket(layout: &Layout, cri: Cri) -> PathBuf {
    match cri {
        Cri::Crio => crio::socket(layout),
        Cri::Containerd | Cri::None => containerd::socket(layout),
    }
}

/// The sockets that the cluster makes below the runtime directory. Those below [`kubelet::ROOT`] and `/run` are inside the
/// namespaces, where their paths do not depend on the user's directories.
#[must_use]
pub fn sockets(layout: &Layout) -> Vec<PathBuf> {
    let rootlesskits = ["api.sock", ".bp.sock", ".s4nn.sock"];
    let mut sockets: Vec<_> = rootlesskits
        .map(|name| layout.rootlesskit().join(name))
        .into();
    sockets.extend([
        containerd::socket(layout).with_extension("sock.ttrpc"),
        containerd::fuse_socket(layout),
        crio::socket(layout),
    ]);
    sockets
}

/// By what `crictl` finds a container runtime, and not the configuration of another one.
#[must_use]
pub fn cri_environment(socket: &Path) -> [(&'static str, String); 3] {
    let endpoint = format!("unix://{}", socket.display());
    [
        ("CONTAINER_RUNTIME_ENDPOINT", endpoint.clone()),
        ("IMAGE_SERVICE_ENDPOINT", endpoint),
        ("CRI_CONFIG_FILE", "/dev/null".to_owned()),
    ]
}

/// A command line in the making.
struct Args(Vec<String>);

impl Args {
    /// Begins with a program of the generation.
    fn of(layout: &Layout, program: &str) -> Self {
        Self(vec![layout.program(program).display().to_string()])
    }

    /// Adds `--name=value`. In one argument, so that no value is mistaken for a flag.
    fn flag(mut self, name: &str, value: impl Display) -> Self {
        self.0.push(format!("--{name}={value}"));
        self
    }

    /// Adds `--name=path`.
    fn path(self, name: &str, path: impl AsRef<Path>) -> Self {
        self.flag(name, path.as_ref().display())
    }
}

/// JSON as a person reads it. Kubernetes takes it wherever it takes YAML.
#[expect(
    clippy::expect_used,
    reason = "fails only for maps with keys that are not text, and no type here has any"
)]
fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    text.push('\n');
    text
}

/// TOML.
#[expect(
    clippy::expect_used,
    reason = "fails only for numbers beyond 63 bits and absent values, and no type here has any"
)]
fn toml(value: &impl Serialize) -> String {
    toml::to_string(value).expect("plain data")
}

#[cfg(test)]
mod tests;
