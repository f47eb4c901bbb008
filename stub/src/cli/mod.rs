//! The command line of `usernetes`.

mod backup;
mod certs;
mod completion;
mod image;
mod inspect;
mod install;
mod join;
mod kubeconfig;
mod lifecycle;
mod output;
mod pki;
mod port;
mod programs;
mod run;
mod store;
mod support;
mod upgrade;

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::child;
use crate::cluster::{Program, check_data_home, check_owner, check_whole};
use crate::error::{Kind, Result};
use crate::lock::in_turn;
use crate::paths;
use crate::progress::Progress;
use crate::protocol;
use crate::services::Service;
use crate::signals;

/// Rootless Kubernetes under $HOME.
#[derive(Debug, Parser)]
#[command(name = "usernetes", after_help = Kind::EXIT_CODES, disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    /// Print the release and, for a bundle, the beginning of its id
    #[arg(short = 'V', long)]
    version: bool,
    // Not for every command: `usernetes kubectl -v 6` is kubectl's.
    /// Show each program that the command runs
    #[arg(short, long)]
    verbose: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install the bundle and start a cluster; run it again to apply other settings
    Install(install::Install),
    /// Run the cluster in the foreground, without systemd: in containers, in WSL, on batch nodes
    Run(run::Run),
    /// Check another bundle and its signature, then install it with the same settings
    Upgrade(upgrade::Upgrade),
    /// Stop the cluster and remove its units
    Uninstall(install::Uninstall),
    /// Print the command that removes all data, for `eval "$(usernetes show-cleanup-command)"`
    #[command(name = "show-cleanup-command")]
    Cleanup,
    /// Make this machine a worker of another machine's cluster, with a token from there
    Join(join::Join),
    /// Make, list or delete tokens, with which other machines join this cluster
    #[command(subcommand)]
    Token(join::Token),
    /// List the machines of the cluster, or remove one
    #[command(subcommand)]
    Node(join::Node),
    /// Check whether this machine can run a cluster, and show how to fix it if not
    Doctor(install::Doctor),
    /// Show the cluster's health, layer by layer
    Status(lifecycle::Status),
    /// Start the cluster, or one unit
    Start(lifecycle::Unit),
    /// Stop the cluster, or one unit
    Stop(lifecycle::Unit),
    /// Stop and start the cluster, or one unit
    Restart(lifecycle::Unit),
    /// Show the logs of the cluster's components
    Logs(lifecycle::Logs),
    /// Run kubectl as the cluster's administrator
    Kubectl(programs::Arguments),
    /// Run containerd's ctr
    Ctr(programs::Arguments),
    /// Run crictl
    Crictl(programs::Arguments),
    /// Run etcdctl
    Etcdctl(programs::Arguments),
    /// Run rootlessctl
    Rootlessctl(programs::Arguments),
    /// Run a program, or a shell, in the cluster's namespaces
    Nsenter(programs::Arguments),
    /// Print the administrator's kubeconfig, or merge it into your own
    #[command(subcommand)]
    Kubeconfig(kubeconfig::Kubeconfig),
    /// Publish ports of this machine into the cluster, or list them
    #[command(subcommand)]
    Port(port::Port),
    /// Load images of your own into the cluster, list all images, or remove some
    #[command(subcommand)]
    Image(image::Image),
    /// List or renew the cluster's certificates
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Make the certificates of all machines of a cluster beforehand, in one place
    #[command(subcommand)]
    Pki(pki::Pki),
    /// Write the whole cluster into one file: data, keys, configuration and your images
    Backup(backup::Backup),
    /// Restore a cluster from a file that `backup` has written, and start it
    Restore(backup::Restore),
    /// List the components with their versions, licences and sizes
    List(inspect::List),
    /// Check every byte of a bundle, or of the installed generation
    Verify(inspect::Verify),
    /// Show the components' licences, the licence texts, and where to get source code
    Licenses(inspect::Licenses),
    /// Print the software bill of materials
    Sbom(inspect::Sbom),
    /// List the installed generations and mark the current one
    Generations(store::Generations),
    /// Make an earlier generation current again
    Rollback(store::Rollback),
    /// Remove unused generations and components; keep the current and the previous generation
    Gc(store::Gc),
    /// Collect what helps to find a fault into one archive, without secrets
    #[command(name = "support-bundle")]
    SupportBundle(support::SupportBundle),
    /// Print the completions of this command for a shell
    Completion(completion::Completion),
    /// Become a service of the cluster; for units
    #[command(name = protocol::BOOT, hide = true)]
    Boot {
        /// Name of the service
        service: String,
    },
    /// Give unused space of etcd's file back, if it is worth it; for a timer
    #[command(name = protocol::DEFRAGMENT, hide = true)]
    Defragment,
    /// Write the data of volumes to stdout; for `backup`
    #[command(name = protocol::PACK_VOLUMES, hide = true)]
    PackVolumes {
        /// Their directory
        directory: PathBuf,
    },
    /// Make the data of volumes from stdin; for `restore`
    #[command(name = protocol::UNPACK_VOLUMES, hide = true)]
    UnpackVolumes {
        /// Their directory
        directory: PathBuf,
    },
    /// Ask other nodes over the pod network; for `join` and `node list`
    #[command(name = protocol::PROBE_PEERS, hide = true)]
    ProbePeers {
        /// Where they answer
        addresses: Vec<SocketAddrV4>,
    },
    /// Try a network driver; for `install`
    #[command(name = protocol::PROBE_NETWORK, hide = true)]
    ProbeNetwork {
        /// What to try, as JSON
        targets: String,
    },
    /// Try to make namespaces; for the checks of this machine
    #[command(name = protocol::PROBE_NAMESPACES, hide = true)]
    ProbeNamespaces,
}

impl Command {
    /// Whether the command changes the installation, its files or its running services.
    fn changes(&self) -> bool {
        match self {
            Self::Install(_)
            | Self::Run(_)
            | Self::Join(_)
            | Self::Upgrade(_)
            | Self::Uninstall(_)
            | Self::Cleanup
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Restart(_)
            | Self::Rollback(_)
            | Self::Restore(_)
            | Self::Backup(_)
            | Self::Defragment
            | Self::Gc(_) => true,
            Self::Kubeconfig(command) => command.changes(),
            Self::Port(command) => command.changes(),
            Self::Certs(command) => command.changes(),
            Self::Image(command) => command.changes(),
            Self::Token(_)
            | Self::Node(_)
            | Self::Pki(_)
            | Self::Doctor(_)
            | Self::Status(_)
            | Self::Logs(_)
            | Self::Kubectl(_)
            | Self::Ctr(_)
            | Self::Crictl(_)
            | Self::Etcdctl(_)
            | Self::Rootlessctl(_)
            | Self::Nsenter(_)
            | Self::List(_)
            | Self::Verify(_)
            | Self::Licenses(_)
            | Self::Sbom(_)
            | Self::Generations(_)
            | Self::SupportBundle(_)
            | Self::Completion(_)
            | Self::Boot { .. }
            | Self::PackVolumes { .. }
            | Self::UnpackVolumes { .. }
            | Self::ProbePeers { .. }
            | Self::ProbeNetwork { .. }
            | Self::ProbeNamespaces => false,
        }
    }

    /// Whether users run the command themselves, on their own installation.
    fn is_about_the_installation(&self) -> bool {
        !matches!(
            self,
            Self::Boot { .. }
                | Self::Defragment
                | Self::PackVolumes { .. }
                | Self::UnpackVolumes { .. }
                | Self::ProbePeers { .. }
                | Self::ProbeNetwork { .. }
                | Self::ProbeNamespaces
                | Self::Pki(_)
                | Self::Completion(_)
        )
    }
}

/// Makes the checks that come before every command.
fn check(command: &Command, progress: &Progress) -> Result<()> {
    if command.changes() {
        check_whole()?;
        // These check the owner themselves, of these and of other directories.
        if matches!(
            command,
            Command::Install(_) | Command::Join(_) | Command::Run(_) | Command::Upgrade(_)
        ) {
            check_data_home()?;
        } else {
            check_owner()?;
        }
        // `restore` knows better which backup is being restored.
        if !matches!(command, Command::Restore(_)) {
            backup::settle(progress)?;
        }
    }
    if command.is_about_the_installation()
        && let Ok(Some((asked, used))) = paths::ignored_data_home()
    {
        progress.line(format!(
            "{} leads to {}, but your cluster's data is in {}, which is used instead",
            paths::XDG_DATA_HOME,
            asked.display(),
            used.display()
        ));
    }
    Ok(())
}

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(error) = crate::boot::as_oci_runtime() {
        return crate::output::report(&error);
    }
    match crate::driver::as_slirp4netns() {
        None => {}
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => return crate::output::report(&error),
    }
    crate::output::main(|cli: Cli| run(&cli).map(ExitCode::from))
}

/// Gives the exit code where there is no error to report.
fn run(cli: &Cli) -> Result<u8> {
    if cli.verbose {
        child::show();
    }
    let progress = Progress::stderr();
    let Some(command) = cli.command.as_ref().filter(|_| !cli.version) else {
        return inspect::version().map(|()| 0);
    };
    check(command, &progress)?;
    if command.changes() {
        signals::outlive_terminal();
    }
    match command {
        Command::Doctor(args) => return args.run(&progress),
        Command::Status(args) => return args.run(&progress),
        Command::Logs(args) => return args.run(),
        Command::Kubectl(args) => return args.run(Program::Kubectl),
        Command::Ctr(args) => return args.run(Program::Ctr),
        Command::Crictl(args) => return args.run(Program::Crictl),
        Command::Etcdctl(args) => return args.run(Program::Etcdctl),
        Command::Rootlessctl(args) => return args.run(Program::Rootlessctl),
        Command::Nsenter(args) => return args.run(Program::Nsenter),
        Command::Boot { service } => {
            // The first service: a power failure may have interrupted a restore.
            if service == Service::Rootlesskit.as_str() {
                backup::settle(&progress)?;
            }
            return crate::boot::run(service);
        }
        Command::Defragment => in_turn(|| crate::lifecycle::defragment_if_worth_it(&progress)),
        Command::PackVolumes { directory } => backup::pack_volumes(directory),
        Command::UnpackVolumes { directory } => {
            crate::backup::unpack_volumes(directory, std::io::stdin().lock())
        }
        Command::ProbePeers { addresses } => join::probe_peers(addresses),
        Command::ProbeNetwork { targets } => crate::driver::probe_child(targets),
        Command::ProbeNamespaces => crate::host::probe_child(),
        Command::Install(args) => args.run(&progress),
        Command::Run(args) => args.run(&progress),
        Command::Join(args) => args.run(&progress),
        Command::Token(command) => command.run(&progress),
        Command::Node(command) => command.run(&progress),
        Command::Upgrade(args) => args.run(&progress),
        Command::Uninstall(args) => args.run(&progress),
        Command::Cleanup => install::show_cleanup_command(),
        Command::Start(args) => args.start(&progress),
        Command::Stop(args) => args.stop(&progress),
        Command::Restart(args) => args.restart(&progress),
        Command::Kubeconfig(command) => command.run(&progress),
        Command::Port(command) => command.run(&progress),
        Command::Certs(command) => command.run(&progress),
        Command::Image(command) => command.run(&progress),
        Command::Pki(command) => command.run(&progress),
        Command::Backup(args) => args.run(&progress),
        Command::Restore(args) => args.run(&progress),
        Command::List(args) => args.run(),
        Command::Verify(args) => args.run(&progress),
        Command::Licenses(args) => args.run(),
        Command::Sbom(args) => args.run(),
        Command::Generations(args) => args.run(),
        Command::Rollback(args) => args.run(&progress),
        Command::Gc(args) => args.run(&progress),
        Command::SupportBundle(args) => args.run(&progress),
        Command::Completion(args) => args.run(&Cli::command()),
    }?;
    Ok(0)
}
