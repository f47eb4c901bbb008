//! Running a generation's own programs with the environment and in the namespaces that they need.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Current, api_address};
use crate::child;
use crate::components::{containerd, cri_environment, cri_socket, etcd};
use crate::config::Cri;
use crate::error::{Context as _, Error, Kind, Result};
use crate::kubeconfig;
use crate::layout::{Credential, Layout};
use crate::paths::KUBECONFIG;
use crate::process::{enter, environment};
use crate::services::Namespaces;

/// A program that users run against their cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// kubectl, as the administrator. It runs on this machine if the API server can be reached from here, so that
    /// port-forwarding and files work as usual.
    Kubectl,
    /// containerd's own client.
    Ctr,
    /// The client for every container runtime.
    Crictl,
    /// etcd's client, as the API server's identity.
    Etcdctl,
    /// RootlessKit's client.
    Rootlessctl,
    /// Any program inside all the namespaces; the user's shell if none is named.
    Nsenter,
}

/// Where a program runs.
#[derive(Clone, Copy)]
enum Place {
    Host,
    Inside(Namespaces),
}

impl Program {
    /// Becomes the program, or gives its exit code if it has to be a child process.
    pub fn run(self, arguments: &[OsString]) -> Result<u8> {
        let current = Current::read()?;
        let (place, mut command) = match self {
            Self::Kubectl => kubectl(&current)?,
            Self::Ctr => ctr(&current)?,
            Self::Crictl => crictl(&current)?,
            Self::Etcdctl => etcdctl(&current)?,
            Self::Rootlessctl => rootlessctl(&current)?,
            Self::Nsenter => return nsenter(&current, arguments),
        };
        command.args(arguments);
        run(&current, place, command)
    }
}

fn kubectl(current: &Current) -> Result<(Place, Command)> {
    let mut command = Command::new(current.program("kubectl")?);
    command.env(KUBECONFIG, kubeconfig::admin_file(current.layout.config()));
    // The cache is not in the user's home, where it would outlive the cluster.
    command.env("KUBECACHEDIR", current.layout.runtime("kubectl-cache"));
    let place = match api_address(&current.config) {
        Some(_) => Place::Host,
        None => Place::Inside(Namespaces::Network),
    };
    Ok((place, command))
}

fn ctr(current: &Current) -> Result<(Place, Command)> {
    if current.config.cri != Cri::Containerd {
        return Err(Error::new(
            Kind::Usage,
            "`ctr` works only with containerd, which this cluster does not use",
        )
        .expected("`cri = \"containerd\"`")
        .found(format!("`cri = \"{}\"`", current.config.cri))
        .hint("`usernetes crictl` works with every container runtime"));
    }
    let mut command = Command::new(current.program("ctr")?);
    command
        .env("CONTAINERD_ADDRESS", containerd::socket(&current.layout))
        .env("CONTAINERD_NAMESPACE", "k8s.io");
    Ok((Place::Inside(Namespaces::All), command))
}

fn crictl(current: &Current) -> Result<(Place, Command)> {
    let socket = cri_socket(&current.layout, current.config.cri);
    let mut command = Command::new(current.program("crictl")?);
    command.envs(cri_environment(&socket));
    Ok((Place::Inside(Namespaces::All), command))
}

fn etcdctl(current: &Current) -> Result<(Place, Command)> {
    let mut command = Command::new(current.program("etcdctl")?);
    command
        .envs(etcdctl_identity(&current.layout))
        .env("ETCDCTL_ENDPOINTS", etcd::CLIENT_URL);
    Ok((Place::Inside(Namespaces::Network), command))
}

/// The environment variables with which etcd's client authenticates.
pub(crate) fn etcdctl_identity(layout: &Layout) -> [(&'static str, OsString); 4] {
    let file = |path: PathBuf| path.into_os_string();
    let authority = layout.certificate(Credential::EtcdAuthority);
    let certificate = layout.certificate(Credential::EtcdClient);
    [
        ("ETCDCTL_API", "3".into()),
        ("ETCDCTL_CACERT", file(authority)),
        ("ETCDCTL_CERT", file(certificate)),
        ("ETCDCTL_KEY", file(layout.key(Credential::EtcdClient))),
    ]
}

fn rootlessctl(current: &Current) -> Result<(Place, Command)> {
    let mut command = Command::new(current.program("rootlessctl")?);
    command.env("ROOTLESSKIT_STATE_DIR", current.layout.rootlesskit());
    Ok((Place::Host, command))
}

fn nsenter(current: &Current, arguments: &[OsString]) -> Result<u8> {
    let words = arguments
        .strip_prefix(&[OsString::from("--")])
        .unwrap_or(arguments);
    let mut command = match words {
        [] => Command::new(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    command.envs(environment(&current.layout));
    run(current, Place::Inside(Namespaces::All), command)
}

fn run(current: &Current, place: Place, mut command: Command) -> Result<u8> {
    child::announce(&command);
    match place {
        Place::Inside(namespaces) => enter(&current.layout, namespaces, command),
        Place::Host => {
            let error = command.exec();
            Err(error).about(|| Path::new(command.get_program()).display().to_string())
        }
    }
}
