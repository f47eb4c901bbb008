//! `kubectl`, `ctr`, `crictl`, `etcdctl`, `rootlessctl`, `nsenter`: programs that run
//! with the environment and in the namespaces that they need.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::cluster::{Current, api_address};
use crate::components::{containerd, cri_environment, cri_socket, etcd};
use crate::config::Cri;
use crate::error::{Context as _, Error, Kind, Result};
use crate::kubeconfig;
use crate::paths::KUBECONFIG;
use crate::process::{enter, environment};
use crate::services::Namespaces;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Arguments {
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Where a program runs.
#[derive(Clone, Copy)]
enum Place {
    Host,
    Inside(Namespaces),
}

impl Arguments {
    /// Runs kubectl on this machine if the API server can be reached from here, so that port-forwarding and files work as
    /// usual.
    pub(super) fn kubectl(&self) -> Result<u8> {
        let current = Current::read()?;
        let mut command = self.command(&current, "kubectl")?;
        command.env(KUBECONFIG, kubeconfig::admin_file(current.layout.config()));
        // The cache is not in the user's home, where it would outlive the cluster.
        command.env("KUBECACHEDIR", current.layout.runtime("kubectl-cache"));
        let place = match api_address(&current.config) {
            Some(_) => Place::Host,
            None => Place::Inside(Namespaces::Network),
        };
        run(&current, place, command)
    }

    pub(super) fn ctr(&self) -> Result<u8> {
        let current = Current::read()?;
        if current.config.cri != Cri::Containerd {
            return Err(Error::new(
                Kind::Usage,
                "`ctr` works only with containerd, which this cluster does not use",
            )
            .expected("`cri = \"containerd\"`")
            .found(format!("`cri = \"{}\"`", current.config.cri))
            .hint("`usernetes crictl` works with every container runtime"));
        }
        let mut command = self.command(&current, "ctr")?;
        command
            .env("CONTAINERD_ADDRESS", containerd::socket(&current.layout))
            .env("CONTAINERD_NAMESPACE", "k8s.io");
        run(&current, Place::Inside(Namespaces::All), command)
    }

    pub(super) fn crictl(&self) -> Result<u8> {
        let current = Current::read()?;
        let socket = cri_socket(&current.layout, current.config.cri);
        let mut command = self.command(&current, "crictl")?;
        command.envs(cri_environment(&socket));
        run(&current, Place::Inside(Namespaces::All), command)
    }

    pub(super) fn etcdctl(&self) -> Result<u8> {
        let current = Current::read()?;
        let mut command = self.command(&current, "etcdctl")?;
        let file = |name| current.layout.master(name);
        command
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", etcd::CLIENT_URL)
            .env("ETCDCTL_CACERT", file("etcd-ca.pem"))
            .env("ETCDCTL_CERT", file("etcd-client.pem"))
            .env("ETCDCTL_KEY", file("etcd-client-key.pem"));
        run(&current, Place::Inside(Namespaces::Network), command)
    }

    pub(super) fn rootlessctl(&self) -> Result<u8> {
        let current = Current::read()?;
        let mut command = self.command(&current, "rootlessctl")?;
        command.env("ROOTLESSKIT_STATE_DIR", current.layout.rootlesskit());
        run(&current, Place::Host, command)
    }

    /// Runs any program inside all the namespaces; the user's shell if none is named.
    pub(super) fn nsenter(&self) -> Result<u8> {
        let current = Current::read()?;
        let shell = || std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let words = self
            .arguments
            .strip_prefix(&[OsString::from("--")])
            .unwrap_or(&self.arguments);
        let mut command = match words {
            [] => Command::new(shell()),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        };
        command.envs(environment(&current.layout));
        run(&current, Place::Inside(Namespaces::All), command)
    }

    fn command(&self, current: &Current, program: &str) -> Result<Command> {
        let mut command = Command::new(current.program(program)?);
        command.args(&self.arguments);
        Ok(command)
    }
}

/// Becomes the program, or gives its exit code if it has to be a child process.
fn run(current: &Current, place: Place, mut command: Command) -> Result<u8> {
    match place {
        Place::Inside(namespaces) => enter(&current.layout, namespaces, command),
        Place::Host => {
            let error = command.exec();
            Err(error).about(|| Path::new(command.get_program()).display().to_string())
        }
    }
}
