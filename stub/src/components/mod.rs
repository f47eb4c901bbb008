//! The command line and the configuration files of every component.
//!
//! Each module describes one component. `args` returns the whole command line, beginning with the program's absolute path.
//! `files` returns the configuration files that it needs, with their contents. Nothing here touches the machine: `boot`
//! looks at the machine, writes the files and runs the commands.

pub mod containerd;
pub mod coredns;
pub mod crio;
pub mod etcd;
pub mod joining;
pub mod kube_apiserver;
pub mod kube_controller_manager;
pub mod kube_proxy;
pub mod kube_scheduler;
pub mod kubelet;
pub mod local_path;
pub mod metrics_server;
pub mod rbac;
pub mod rootlesskit;
pub mod runtime_class;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Cri};
use crate::error::Result;
use crate::layout::{Kubeconfig, Layout};
use crate::network::flannel;
use crate::protocol;
use crate::render::ConfigFile;
use crate::services::Service;

/// How a service is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The command line, beginning with the program's absolute path.
    pub args: Vec<String>,
    /// The configuration files that must exist before it starts.
    pub files: Vec<ConfigFile>,
}

/// Facts about this machine that some services need to start. Each is determined only when a service needs it.
pub trait Found {
    /// The kernel interface that kube-proxy can use on this machine.
    fn proxy_mode(&self) -> Result<kube_proxy::Mode>;
    /// Whether the cgroup of this process can be divided.
    fn divides_cgroup(&self) -> bool;
    /// Whether pods can have cgroups of their own.
    fn pods_have_cgroups(&self) -> Result<bool>;
    /// The address at which other machines reach this one.
    fn public_address(&self) -> Result<Ipv4Addr>;
    /// The certificate, as PEM, of the authority that issues certificates.
    fn signing_authority(&self) -> Result<String>;
    /// How this machine's etcd joined the members of others; `None` if it did not.
    fn etcd_member(&self) -> Result<Option<etcd::Joining>>;
    /// How much memory, disk and so on there is for pods.
    fn capacity(&self) -> Result<kubelet::Capacity>;
}

/// Determines how a service is started on this machine.
pub fn start(
    service: Service,
    layout: &Layout,
    config: &Config,
    found: &impl Found,
) -> Result<Start> {
    let identity = || service.kubeconfig(config).unwrap_or(Kubeconfig::Kubelet);
    let (args, files) = match service {
        Service::Rootlesskit => (
            rootlesskit::args(layout, config, found.divides_cgroup()),
            Vec::new(),
        ),
        Service::Etcd => (
            etcd::args(layout, config, found.etcd_member()?.as_ref()),
            Vec::new(),
        ),
        Service::KubeApiserver => (kube_apiserver::args(layout, config), Vec::new()),
        Service::KubeControllerManager => (
            kube_controller_manager::args(layout, config),
            kube_controller_manager::files(layout, found.signing_authority()?),
        ),
        Service::KubeScheduler => (kube_scheduler::args(layout, config), Vec::new()),
        Service::Kubelet => (
            kubelet::args(layout, config),
            kubelet::files(
                layout,
                config,
                &found.capacity()?,
                found.pods_have_cgroups()?,
            ),
        ),
        Service::KubeProxy => (
            kube_proxy::args(layout),
            kube_proxy::files(layout, config, found.proxy_mode()?, identity()),
        ),
        Service::Flanneld => (
            flannel::args(layout, found.public_address()?, identity()),
            flannel::files(layout, config),
        ),
        Service::Ports | Service::NodeApprover | Service::ApiProxy => {
            (own(layout, service), Vec::new())
        }
    };
    Ok(Start { args, files })
}

/// The command line of a service that is this program itself.
fn own(layout: &Layout, service: Service) -> Vec<String> {
    let program = layout.program("usernetes").display().to_string();
    vec![
        program,
        protocol::BOOT.to_owned(),
        service.as_str().to_owned(),
    ]
}

/// The container runtime's socket. If there is no container runtime, it is containerd's.
#[must_use]
pub fn cri_socket(layout: &Layout, cri: Cri) -> PathBuf {
    match cri {
        Cri::Crio => crio::socket(layout),
        Cri::Containerd | Cri::None => containerd::socket(layout),
    }
}

/// The sockets that the cluster creates below the runtime directory. Sockets below [`kubelet::ROOT`] and `/run` are not among
/// them: they are inside the namespaces, where their paths do not depend on the user's directories.
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

/// The environment variables with which `crictl` uses this container runtime, and no configuration for another one.
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
