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
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Config, Cri};
use crate::error::Result;
use crate::layout::Layout;
use crate::services::Service;

/// A configuration file: where it lies and what it says. It ends with a line feed.
pub type ConfigFile = (PathBuf, String);

/// How a service is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The command line, the program's absolute path first.
    pub args: Vec<String>,
    /// The configuration files that must be there before.
    pub files: Vec<ConfigFile>,
}

/// What a service's start depends on and only the machine it runs on knows. It is asked only for what is needed.
pub trait Found {
    /// How kube-proxy can program the kernel here.
    fn proxy_mode(&self) -> Result<kube_proxy::Mode>;
    /// The address at which other machines see this one.
    fn public_address(&self) -> Result<Ipv4Addr>;
}

/// How a service is started on this machine.
pub fn start(
    service: Service,
    layout: &Layout,
    config: &Config,
    found: &impl Found,
) -> Result<Start> {
    let (args, files) = match service {
        Service::Rootlesskit => (rootlesskit::args(layout, config), Vec::new()),
        Service::Etcd => (etcd::args(layout), Vec::new()),
        Service::KubeApiserver => (kube_apiserver::args(layout, config), Vec::new()),
        Service::KubeControllerManager => {
            (kube_controller_manager::args(layout, config), Vec::new())
        }
        Service::KubeScheduler => (kube_scheduler::args(layout), Vec::new()),
        Service::Kubelet => (
            kubelet::args(layout, config),
            kubelet::files(layout, config),
        ),
        Service::KubeProxy => (
            kube_proxy::args(layout),
            kube_proxy::files(layout, config, found.proxy_mode()?),
        ),
        Service::Flanneld => (
            flannel::args(layout, found.public_address()?),
            flannel::files(layout, config),
        ),
    };
    Ok(Start { args, files })
}

/// Where the container runtime answers; where there is none, where containerd would.
#[must_use]
pub fn cri_socket(layout: &Layout, cri: Cri) -> PathBuf {
    match cri {
        Cri::Crio => crio::socket(layout),
        Cri::Containerd | Cri::None => containerd::socket(layout),
    }
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
