//! What every component is started with: its command line and its configuration files.
//!
//! Each module is one component. `args` gives the whole command line, the program's absolute path first; `files` gives
//! the configuration files it needs, with their contents. Nothing here touches the machine: `boot` probes, writes the
//! files and runs the commands.

pub mod containerd;
pub mod coredns;
pub mod crio;
pub mod etcd;
pub mod kube_apiserver;
pub mod kube_controller_manager;
pub mod kube_proxy;
pub mod kube_scheduler;
pub mod kubelet;
pub mod rbac;
pub mod rootlesskit;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Cri};
use crate::error::Result;
use crate::layout::Layout;
use crate::network::flannel;
use crate::render::ConfigFile;
use crate::services::Service;

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
    /// Whether the cgroup of this process may be divided.
    fn divides_cgroup(&self) -> bool;
    /// Whether pods can have cgroups of their own here.
    fn pods_have_cgroups(&self) -> Result<bool>;
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
        Service::Rootlesskit => (
            rootlesskit::args(layout, config, found.divides_cgroup()),
            Vec::new(),
        ),
        Service::Etcd => (etcd::args(layout), Vec::new()),
        Service::KubeApiserver => (kube_apiserver::args(layout, config), Vec::new()),
        Service::KubeControllerManager => {
            (kube_controller_manager::args(layout, config), Vec::new())
        }
        Service::KubeScheduler => (kube_scheduler::args(layout), Vec::new()),
        Service::Kubelet => (
            kubelet::args(layout, config),
            kubelet::files(layout, config, found.pods_have_cgroups()?),
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

#[cfg(test)]
mod tests;
