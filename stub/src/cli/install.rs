//! `install`, `uninstall`, `show-cleanup-command`

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::output::{print, print_json};
use crate::cidr::Cidr;
use crate::config::{
    Addon, Cni, Cpus, Cri, DnsName, Memory, NetworkDriver, PortSpec, PublishServices,
};
use crate::error::Result;
use crate::host::{self, Finding, Level, Machine};
use crate::install::{self, Flags, MachineFlags, Outcome, Report, Start};
use crate::progress::Progress;
use crate::services::Service;
use crate::signature::Verdict;

/// What `install` and `run` have in common.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Container runtime: "containerd", "crio", or "" for a control plane that runs no pods
    #[arg(long, value_name = "RUNTIME")]
    cri: Option<Cri>,
    /// Pod network: "" or "bridge" on one machine, "flannel" across machines
    #[arg(long, value_name = "NETWORK", value_parser = cni)]
    cni: Option<Cni>,
    /// Name of this machine in the cluster [default: derived from its host name]; fixed once the cluster has data
    #[arg(long, value_name = "NAME")]
    node_name: Option<DnsName>,
    /// Network between this machine and the cluster, for example 10.0.42.0/24
    #[arg(long, value_name = "NETWORK")]
    cidr: Option<Cidr>,
    /// Network of services, for example 10.0.0.0/24; fixed once the cluster has data
    #[arg(long, value_name = "NETWORK")]
    services: Option<Cidr>,
    /// Network of pods, for example 10.88.0.0/16
    #[arg(long, value_name = "NETWORK")]
    pods: Option<Cidr>,
    /// Program that connects the cluster with this machine's network: "slirp4netns", or "pasta", which is tried first
    #[arg(long, value_name = "PROGRAM")]
    network_driver: Option<NetworkDriver>,
    /// Memory that the whole cluster may use, for example 12GiB or 75%; "" for all that this machine has
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<Memory>,
    /// Processors that the whole cluster may use, for example 4 or 2.5; "" for all that this machine has
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Cpus>,
    #[command(flatten)]
    machines: MachineSettings,
    /// Publish a port of this machine into the cluster; repeat it for more ports (the API server's is always published)
    #[arg(short, long, value_name = "IP:PORT:CHILDPORT/PROTO")]
    publish: Vec<PortSpec>,
    /// Publish `NodePort` and `LoadBalancer` services and the host ports of pods by themselves, on this address of this machine
    /// [default: 0.0.0.0, which is all]; "" turns it off
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "0.0.0.0")]
    publish_services: Option<PublishServices>,
    /// Leave these out, separated by commas: "storage", the default storage class, or "metrics", for `kubectl top`; "" for none
    #[arg(long, value_name = "ADDONS", value_parser = addons)]
    without: Option<Addons>,
    /// Start this unit now and, if it is a target, at every login; "" starts nothing
    #[arg(long, value_name = "UNIT")]
    start: Option<Start>,
    /// Use the certificates and the configuration in this directory, which `pki init` has made for this machine
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Read every installed file and unpack damaged components again, even if nothing seems to be wrong
    #[arg(long)]
    repair: bool,
    /// Go on even if the checks find this machine unfit, or the bundle is older, skips a minor version of Kubernetes or does
    /// not work
    #[arg(long)]
    force: bool,
    /// Give up, or return to the installed release, if a step of the start takes longer than this [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

/// How other machines reach this one, for `install`, `run` and `join`.
#[derive(Debug, Args)]
pub(super) struct MachineSettings {
    /// Address of this machine at which other machines reach it, so that they can join; "" for a cluster of one machine
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    address: Option<Address>,
    #[command(flatten)]
    cluster: ClusterSettings,
}

/// What the machines of a cluster have in common as a rule, for `pki init` as well.
#[derive(Debug, Args)]
pub(super) struct ClusterSettings {
    /// Largest packet, in bytes, that the network between machines carries whole [default: 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Port of the API server [default: 6443]
    #[arg(long, value_name = "PORT")]
    api_port: Option<NonZeroU16>,
    /// Port of the kubelet [default: 10250]
    #[arg(long, value_name = "PORT")]
    kubelet_port: Option<NonZeroU16>,
    /// UDP port of the pod network between machines, the same on all of them [default: 8472]
    #[arg(long, value_name = "PORT")]
    vxlan_port: Option<NonZeroU16>,
}

/// An address, or none for an empty text. As a plain `Option`, clap would take it for an optional flag.
#[derive(Debug, Clone, Copy)]
struct Address(Option<Ipv4Addr>);

fn address(text: &str) -> Result<Address, String> {
    if text.is_empty() {
        return Ok(Address(None));
    }
    let address = text.parse().map(Some).map(Address);
    address.map_err(|_| "expected an IPv4 address of this machine".to_owned())
}

impl MachineSettings {
    pub(super) fn flags(&self) -> MachineFlags {
        MachineFlags {
            address: self.address.map(|address| address.0),
            ..self.cluster.flags()
        }
    }
}

impl ClusterSettings {
    /// Without an address.
    pub(super) fn flags(&self) -> MachineFlags {
        MachineFlags {
            address: None,
            mtu: self.mtu,
            api_port: self.api_port,
            kubelet_port: self.kubelet_port,
            vxlan_port: self.vxlan_port,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    settings: Settings,
    /// The known origin of the bundle; for `upgrade`
    #[arg(long, hide = true, value_parser = origin)]
    origin: Option<Verdict>,
    /// The existing generation to install; for `rollback`
    #[arg(long, hide = true)]
    generation: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn origin(text: &str) -> serde_json::Result<Verdict> {
    serde_json::from_str(text)
}

/// The addons of one option.
#[derive(Debug, Clone)]
struct Addons(Vec<Addon>);

fn addons(text: &str) -> Result<Addons> {
    let names = text.split(',').filter(|name| !name.is_empty());
    let addons: Result<Vec<Addon>> = names.map(str::parse).collect();
    addons.map(Addons)
}

/// The shell-script Usernetes called the bridge "".
fn cni(text: &str) -> Result<Cni> {
    match text {
        "" => Ok(Cni::Bridge),
        text => text.parse(),
    }
}

impl Settings {
    /// As `install` takes them.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            cri: self.cri,
            cni: self.cni,
            node_name: self.node_name.clone(),
            cidr: self.cidr,
            services: self.services,
            pods: self.pods,
            network_driver: self.network_driver,
            memory: self.memory,
            cpus: self.cpus,
            machines: self.machines.flags(),
            pki: self.pki.clone(),
            publish: Some(self.publish.clone()).filter(|ports| !ports.is_empty()),
            publish_services: self.publish_services,
            without: self.without.clone().map(|addons| addons.0),
            start: self.start.clone(),
            repair: self.repair,
            force: self.force,
            timeout: self.timeout.map(Duration::from_secs),
            ..Flags::default()
        }
    }
}

impl Install {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let flags = Flags {
            origin: self.origin.clone(),
            generation: self.generation,
            ..self.settings.flags()
        };
        let report = install::install(&flags, &Machine::this(), progress)?;
        show(&report, self.json, progress)
    }
}

/// Prints a report, for people or as JSON.
pub(super) fn show(report: &Report, json: bool, progress: &Progress) -> Result<()> {
    if json {
        return print_json(&json!(report));
    }
    for finding in findings(report) {
        progress.line(finding);
    }
    progress.line(summary(report).trim_end());
    Ok(())
}

/// The findings to show. If nothing was to be started, one line about the fatal ones is enough.
fn findings(report: &Report) -> Vec<String> {
    if !report.changed {
        return Vec::new();
    }
    let fatal = report
        .findings
        .iter()
        .filter(|f| f.level == Level::Fatal)
        .count();
    if report.started.is_empty() {
        let findings = match fatal {
            1 => "1 finding keeps".to_owned(),
            fatal => format!("{fatal} findings keep"),
        };
        let line = format!(
            "{findings} this machine from running a cluster: run `usernetes doctor` for the details"
        );
        return if fatal > 0 { vec![line] } else { Vec::new() };
    }
    let findings = report.findings.iter().filter(|f| f.is_telling());
    findings
        .map(|f| format!("{} {}: {}", f.level.as_str(), f.id, f.found))
        .collect()
}

/// The summary for the user.
fn summary(report: &Report) -> String {
    let (number, release, outcome) = (report.generation, &report.release, report.outcome);
    let headline = format!("generation {number} (release {release}) {outcome}\n");
    if outcome == Outcome::Unchanged && report.phases.is_empty() {
        return headline;
    }
    let mut text = String::new();
    for change in &report.changes {
        let _ = writeln!(text, "changed  {change}");
    }
    if let Some(old) = &report.old_config {
        let _ = writeln!(
            text,
            "changed  config.toml: restored for this generation; the previous file is {}",
            old.display()
        );
    }
    for phase in &report.phases {
        let _ = writeln!(text, "{:7.1} s  {}", phase.seconds, phase.name);
    }
    text.push_str(&headline);
    let _ = writeln!(
        text,
        "the command `usernetes` and all programs are in {}",
        report.bin.display()
    );
    if !report.missing.is_empty() {
        let names: Vec<_> = report.missing.iter().map(|s| s.as_str()).collect();
        let _ = writeln!(text, "this bundle has no {}", names.join(", "));
    }
    match report.started.as_str() {
        "" => text.push_str("nothing was started: to start a unit, run `usernetes start UNIT`\n"),
        unit => {
            let _ = writeln!(text, "{unit} is up");
            if !report.lingering {
                text.push_str("to keep it running when you log out: `sudo loginctl enable-linger $(id -un)`\n");
            }
        }
    }
    if report.kubeconfig.as_os_str().is_empty() {
        text.push_str(
            "on the machine with the control plane, `usernetes node list` shows this one\n",
        );
    } else if !report.missing.contains(&Service::KubeApiserver) {
        let path = report.kubeconfig.display();
        let _ = write!(
            text,
            "to use the cluster:\n  usernetes kubectl get pods --all-namespaces\nor with a kubectl of your own:\n  export KUBECONFIG={path}\nor, for good:\n  usernetes kubeconfig merge\n"
        );
    }
    text.push_str("to remove the cluster: `usernetes uninstall`\n");
    text
}

#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// Also remove programs, configuration, keys and all data of the cluster
    #[arg(long)]
    purge: bool,
}

impl Uninstall {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        install::uninstall(self.purge, &Machine::this(), progress)?;
        if !self.purge {
            // Where the command cannot work, the purge says why when it is asked for.
            progress.line(match install::cleanup_command(&Machine::this()) {
                Ok(command) => format!("to remove the data as well, run this:\n  {command}"),
                Err(_) => {
                    "to remove the data as well, run `usernetes uninstall --purge`".to_owned()
                }
            });
        }
        Ok(())
    }
}

/// `show-cleanup-command`
pub(super) fn show_cleanup_command() -> Result<()> {
    print(&format!(
        "{}\n",
        install::cleanup_command(&Machine::this())?
    ))
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only the commands that an administrator has to run, or nothing; the exit code is 0
    #[arg(long, conflicts_with = "json")]
    fix_script: bool,
}

impl Doctor {
    /// Gives the exit code: 6 if a cluster cannot run on this machine.
    pub(super) fn run(&self, progress: &Progress) -> Result<u8> {
        let findings = install::examine(&Machine::this())?;
        if self.fix_script {
            return fix_script(&findings, progress);
        }
        let (block, undo) = (host::admin::block(&findings), host::admin::undo(&findings));
        if self.json {
            print_json(&json!({ "admin": block, "findings": findings, "undo": undo }))?;
        } else {
            let mut text = host::report(&findings);
            if let Some(block) = block {
                let _ = write!(text, "\nAn administrator can fix this with:\n\n{block}");
            }
            if let Some(undo) = undo {
                let _ = write!(text, "\nand undo it with:\n\n{undo}");
            }
            print(&text)?;
        }
        let fatal = findings.iter().any(|f| f.level == Level::Fatal);
        Ok(if fatal {
            crate::error::Kind::Host.exit_code()
        } else {
            0
        })
    }
}

/// Prints the administrator's commands alone. What they do not fix is named on stderr.
fn fix_script(findings: &[Finding], progress: &Progress) -> Result<u8> {
    if let Some(block) = host::admin::block(findings) {
        print(&block)?;
    }
    let others = findings
        .iter()
        .filter(|f| f.level == Level::Fatal && f.admin.is_none());
    let others: Vec<_> = others.map(|f| f.id.as_str()).collect();
    if !others.is_empty() {
        progress.line(format!(
            "an administrator's commands do not fix {}: see `usernetes doctor`",
            others.join(", ")
        ));
    }
    Ok(0)
}
